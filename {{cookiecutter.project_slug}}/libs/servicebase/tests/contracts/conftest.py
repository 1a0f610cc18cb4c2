"""Each port, once for every adapter that it has.

The fake is held to the contract in the unit tier, the real one in the integration tier.
"""

from typing import Any

import pytest


def adapter_of(port: str, real: str) -> Any:
    """Return a fixture: an adapter of a port, each of both."""

    @pytest.fixture(params=["memory", pytest.param(real, marks=pytest.mark.integration)])
    def adapter(request: pytest.FixtureRequest) -> object:
        found: object = request.getfixturevalue(f"{request.param}_{port}")
        return found

    return adapter


idempotency = adapter_of("idempotency", "redis")
repository = adapter_of("notes", "postgres")
