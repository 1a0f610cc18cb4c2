"""What is left to look at after each run of nox: reports/index.html, and reports/history/.

Standard library only, since whatever runs nox writes them.
"""

import sys
from pathlib import Path
from typing import Any

from .. import results
from . import history, page

PAGE = "index.html"
HISTORY = "history"


def publish(summary: dict[str, Any], meaning: str, folder: Path) -> None:
    """Write the page of a run, and keep its summary, in the folder of the reports."""
    try:
        before = history.load(folder / HISTORY)
        text = page.render(page.data(summary, meaning, before, folder))
        results.write(folder / PAGE, text)
        history.keep(summary, folder / HISTORY)
    except Exception as error:  # noqa: BLE001 - what came of the run is not changed by its page
        sys.stderr.write(f"reports/{PAGE} cannot be written: {type(error).__name__}: {error}\n")
