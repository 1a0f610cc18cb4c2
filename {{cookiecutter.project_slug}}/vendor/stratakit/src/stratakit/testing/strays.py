"""A file of tests that no tier runs, as pytest shows it."""

from collections.abc import Iterator

import pytest

from .. import discovery


class Stray(pytest.File):
    """It is not imported, and holds one test: that which is refused in the place of its own."""

    def __repr__(self) -> str:
        """Describe what is wrong with it: pytest prints this where its tests were asked for."""
        return f"<{self.path.name}: {discovery.refusal([self.path])}>"

    def collect(self) -> Iterator[pytest.Item]:
        """Yield what is refused."""
        yield Refused.from_parent(self, name="belongs to no tier")


class Refused(pytest.Item):
    """What the plugin refuses as it is set up, since it has no tier."""

    def runtest(self) -> None:
        """Never come here."""
