"""Helpers for tests to import; the fixtures come from this package's pytest plugin."""

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


# Imported lazily: they need SQLAlchemy, and pytest imports this package in every run.
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
    module = import_module(_MODULES[name], __name__.rpartition(".")[0])
    # The name is the module itself, or an attribute of it.
    return getattr(module, name, module)
