"""Servers for tests that need one of their own."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from .redis_servers import running


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., str]]:
    """Callable[..., str] a server with options, for this test alone; return its URL."""
    with ExitStack() as stack:
        yield lambda *options: stack.enter_context(running(tmp_path, *options))


@pytest.fixture
def server(start: Callable[..., str]) -> str:
    """A server that holds four databases."""
    return start("--databases", "4")
