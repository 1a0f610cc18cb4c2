"""What tests may use: fixtures come by themselves, from the pytest plugin in this package."""

from importlib import import_module
from typing import TYPE_CHECKING

from .latencies import timed
from .serving import Service, serving
from .waiting import eventually

if TYPE_CHECKING:
    from .. import schema_tests as schema
    from ..factories import Build, BuildError, example
    from ..schema_tests import migrations
    from .clock import stop_clock
    from .notifications import listening

__all__ = [
    "Build",
    "BuildError",
    "Service",
    "eventually",
    "example",
    "listening",
    "migrations",
    "schema",
    "serving",
    "stop_clock",
    "timed",
]


# Not imported before they are needed: pytest imports this package, and they import SQLAlchemy.
_MODULES = {
    "schema": ".schema_tests",
    "migrations": ".schema_tests.migrations",
    "listening": ".testing.notifications",
    "stop_clock": ".testing.clock",
    **dict.fromkeys(("Build", "BuildError", "example"), ".factories"),
}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(_MODULES[name], __package__.rpartition(".")[0])
    # A module is what is meant, or where it is.
    return getattr(module, name, module)
