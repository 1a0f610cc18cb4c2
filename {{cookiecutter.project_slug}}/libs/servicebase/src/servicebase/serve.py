"""Server process of a service: `python -m SERVICE`."""

import signal
import sys
from pkgutil import resolve_name
from typing import NoReturn

import uvicorn
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from . import transport
from .settings import ServiceSettings, SettingsError, load

CONFIGURATION = 3
"""Exit code for invalid settings: a restart is of no use until they are fixed."""


def serve(kind: type[ServiceSettings], factory: str) -> None:
    """Serve until SIGTERM or SIGINT, then finish the requests in flight.

    Args:
        kind: settings class of the service.
        factory: `module:function` that makes the application from the settings. It is imported
            after they are read, so that an invalid one is reported before drivers are imported.
    """
    try:
        settings = load(kind)
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(CONFIGURATION) from None
    create = resolve_name(factory)
    # uvicorn shuts down gracefully, then raises the signal again: exit with 0 on that.
    signal.signal(signal.SIGTERM, _leave)
    uvicorn.run(
        create(settings),
        host=settings.host,
        port=settings.port,
        # Whatever WEB_CONCURRENCY says: one process per container; add containers to scale.
        workers=1,
        # Its lines go through our own configuration, and middleware.py has the access log.
        log_config=None,
        access_log=False,
        server_header=False,
        # By default, an application whose lifespan fails is treated as one without.
        lifespan="on",
        timeout_graceful_shutdown=settings.shutdown_grace,
        **transport.options(AutoHTTPProtocol, seconds=settings.client_timeout),
    )


def _leave(*_: object) -> NoReturn:
    """Exit with 0, even if SIGTERM comes again while the interpreter shuts down."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(0)
