"""The progress line of long steps."""

import io
import threading

import pytest
from stratakit.progress import progress


class Terminal(io.StringIO):
    """A terminal; `written` is set with each line that is shown."""

    def __init__(self, *, tty: bool = True) -> None:
        """Make it a terminal, or only a file."""
        super().__init__()
        self.tty = tty
        self.written = threading.Event()

    def isatty(self) -> bool:
        return self.tty

    def write(self, text: str) -> int:
        count = super().write(text)
        self.written.set()
        return count


@pytest.fixture(autouse=True)
def progress_enabled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unset the variables that hide the progress line."""
    for name in ("CI", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)


def test_a_long_step_shows_a_progress_line_and_erases_it_at_the_end() -> None:
    terminal = Terminal()
    with progress("install what unit needs", delay=0, stream=terminal):
        assert terminal.written.wait(30)
    shown = terminal.getvalue().split("\r\x1b[2K")
    assert shown[1] == "… install what unit needs (0 s)"
    assert shown[-1] == ""


def test_a_quick_step_shows_no_progress_line() -> None:
    terminal = Terminal()
    with progress("install what unit needs", delay=3600, stream=terminal):
        pass
    assert terminal.getvalue() == ""


@pytest.mark.parametrize("why", ["CI", "NO_COLOR", "no terminal"])
def test_no_progress_line_is_shown_in_ci_with_no_color_or_without_a_terminal(
    why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if why != "no terminal":
        monkeypatch.setenv(why, "true")
    terminal = Terminal(tty=why != "no terminal")
    with progress("install what unit needs", delay=0, stream=terminal):
        assert not terminal.written.is_set()
    assert terminal.getvalue() == ""
