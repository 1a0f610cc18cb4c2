"""Fixtures of contract suites, which hold each adapter of a port to the same tests.

    from stratakit.testing import contracts

    repository = contracts.adapters("memory_repository", "postgres_repository")

The fake is held to the contract in the unit tier, the real one in the integration tier.
"""

from typing import Any

import pytest


def adapters(fake: str, real: str) -> Any:
    """Return a fixture: each of the adapters that the fixtures of these names provide."""

    @pytest.fixture(params=[fake, pytest.param(real, marks=pytest.mark.integration)])
    def adapter(request: pytest.FixtureRequest) -> object:
        found: object = request.getfixturevalue(request.param)
        return found

    return adapter
