"""What tests may use: fixtures come by themselves, from the pytest plugin in this package."""

from typing import TYPE_CHECKING

from .serving import Service, serving
from .waiting import eventually

if TYPE_CHECKING:
    from .. import schema_tests as schema
    from ..factories import Build, BuildError, example
    from ..schema_tests import migrations

__all__ = [
    "Build",
    "BuildError",
    "Service",
    "eventually",
    "example",
    "migrations",
    "schema",
    "serving",
]


def __getattr__(name: str) -> object:
    # Not imported before they are needed: pytest imports this package, and they import SQLAlchemy.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "schema":
        from .. import schema_tests

        return schema_tests
    if name == "migrations":
        from ..schema_tests import migrations

        return migrations
    from .. import factories

    return getattr(factories, name)
