"""HTML report of each nox run, reports/index.html, and the history of runs in reports/history/.

Standard library only, since both are written in whatever environment runs nox.
"""

import sys
from pathlib import Path
from typing import Any

from .. import results
from . import history, page

PAGE = "index.html"
HISTORY = "history"


def publish(summary: dict[str, Any], meaning: str, folder: Path) -> None:
    """Write the page of a run and add its summary to the history, below the folder of reports."""
    try:
        before = history.load(folder / HISTORY)
        text = page.render(page.data(summary, meaning, before, folder))
        results.write(folder / PAGE, text)
        history.keep(summary, folder / HISTORY)
    except Exception as error:  # noqa: BLE001 - a failing page must not change the run's result
        sys.stderr.write(f"reports/{PAGE} cannot be written: {type(error).__name__}: {error}\n")
