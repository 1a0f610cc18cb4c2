"""The process: what `python -m SERVICE` does."""

import gc
import signal
import sys
from importlib import import_module
from typing import NoReturn

import uvicorn

from .settings import ServiceSettings, SettingsError, load

CONFIGURATION = 3
"""Exit code that says: no use to start it again before a setting is fixed."""


def serve(kind: type[ServiceSettings], factory: str) -> None:
    """Serve until SIGTERM or SIGINT, then finish the requests at hand.

    Args:
        kind: the settings of the service.
        factory: what makes the application of them, as `module:function`. It is imported after
            they were read, so that a wrong one is told before the drivers are imported.
    """
    try:
        settings = load(kind)
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(CONFIGURATION) from None
    # What is imported lives until the end. Kept out of garbage collections, it lets the service
    # start a tenth sooner and stop in half the time.
    gc.disable()
    module, _, name = factory.partition(":")
    create = getattr(import_module(module), name)
    # uvicorn finishes gracefully, then raises the signal again: this makes its end an exit with 0.
    signal.signal(signal.SIGTERM, _leave)
    application = create(settings)
    gc.freeze()
    gc.enable()
    uvicorn.run(
        application,
        host=settings.host,
        port=settings.port,
        # Its lines go through our own configuration, and middleware.py has one per request.
        log_config=None,
        access_log=False,
        server_header=False,
        # Less than the ten seconds that Docker grants before it kills.
        timeout_graceful_shutdown=8,
    )


def _leave(*_: object) -> NoReturn:
    """Exit with 0, also if SIGTERM comes again while the interpreter is on its way out."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(0)
