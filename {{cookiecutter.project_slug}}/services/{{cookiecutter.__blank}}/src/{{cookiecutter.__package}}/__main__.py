"""Serve: `python -m {{ cookiecutter.__package }}`."""

import gc
import signal
import sys
from typing import NoReturn

import uvicorn

from .settings import Settings, SettingsError, load

CONFIGURATION = 3
"""Exit code that says: no use to start it again before a setting is fixed."""


def main() -> None:
    """Serve until SIGTERM or SIGINT, then finish the requests at hand."""
    try:
        settings = load(Settings)
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(CONFIGURATION) from None
    # What is imported lives until the end. Kept out of garbage collections, it lets the service
    # start a tenth sooner and stop in half the time.
    gc.disable()
    # After the settings, so that a wrong one is told before the drivers are imported.
    from .production import production

    # uvicorn finishes gracefully, then raises the signal again: this makes its end an exit with 0.
    signal.signal(signal.SIGTERM, leave)
    application = production(settings)
    gc.freeze()
    gc.enable()
    uvicorn.run(
        application,
        host=settings.host,
        port=settings.port,
        # Its lines go through our own configuration, and api/access.py has one per request.
        log_config=None,
        access_log=False,
        server_header=False,
        # Less than the ten seconds that Docker grants before it kills.
        timeout_graceful_shutdown=8,
    )


def leave(*_: object) -> NoReturn:
    """Exit with 0, also if SIGTERM comes again while the interpreter is on its way out."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(0)


if __name__ == "__main__":
    main()
