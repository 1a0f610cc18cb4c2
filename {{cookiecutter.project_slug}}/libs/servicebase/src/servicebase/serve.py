"""The process: what `python -m SERVICE` does."""

import signal
import sys
from pkgutil import resolve_name
from typing import NoReturn

import uvicorn
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from . import transport
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
    create = resolve_name(factory)
    # uvicorn finishes gracefully, then raises the signal again: this makes its end an exit with 0.
    signal.signal(signal.SIGTERM, _leave)
    uvicorn.run(
        create(settings),
        host=settings.host,
        port=settings.port,
        # Whatever WEB_CONCURRENCY says: one process a container, and as many of these as it takes.
        workers=1,
        # Its lines go through our own configuration, and middleware.py has one per request.
        log_config=None,
        access_log=False,
        server_header=False,
        # By default what fails there is taken for an application that has none.
        lifespan="on",
        timeout_graceful_shutdown=settings.shutdown_grace,
        **transport.options(AutoHTTPProtocol, seconds=settings.client_timeout),
    )


def _leave(*_: object) -> NoReturn:
    """Exit with 0, also if SIGTERM comes again while the interpreter is on its way out."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(0)
