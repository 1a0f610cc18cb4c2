"""The API against its OpenAPI document: no crash, and no undocumented response.

Schemathesis generates requests from the document, also sequences that use earlier responses, and
prints each finding with a curl command that reproduces it.
"""

import asyncio
import os
import sys
from pathlib import Path

import pytest

from stratakit.testing import Service

from gateway.ports import Limiter

CONFIG = """
color = false
[generation]
# Random requests for each operation, besides those at the bounds of the schema.
max-examples = 10
[checks]
# References to missing resources are refused, and a schema cannot tell which ids exist.
positive_data_acceptance.enabled = false
# The defaults and 413, since a value that is too long may make the body too large.
[checks.negative_data_rejection]
expected-statuses = ["400", "401", "403", "404", "405", "409", "413", "415", "429", "5xx"]
"""
PATHS = {
    "admin": ["--include-path-regex=^/admin/"],
    # After a logout, all other requests would return 401.
    "ann": ["--include-path-regex=^/auth/", "--exclude-path=/auth/logout"],
    "client": ["--exclude-path-regex=^/(admin|auth)/"],
}
"""Schemathesis options for each client: the paths that it may request."""


@pytest.fixture(params=PATHS)
def options(request: pytest.FixtureRequest) -> list[str]:
    """Schemathesis options: the credential of a client, and its paths."""
    headers = request.getfixturevalue(request.param).headers
    return ["--header", f"Authorization: {headers['Authorization']}", *PATHS[request.param]]


# These are many sequential requests: a busy machine may exceed the tier's timeout.
@pytest.mark.timeout(600)
async def test_the_api_conforms_to_its_openapi_document(
    service: Service, redis_limiter: Limiter, options: list[str], tmp_path: Path
) -> None:
    (tmp_path / "schemathesis.toml").write_text(CONFIG, encoding="utf-8")
    command = (sys.executable, "-m", "schemathesis.cli", "run", f"{service.url}/openapi.json")
    # Its own code is not measured: on Python 3.11, it was seen to hang under coverage.
    environment = {name: os.environ[name] for name in os.environ if "COVERAGE" not in name}
    process = await asyncio.create_subprocess_exec(
        *(*command, *options),
        env=environment,
        # It writes reports and examples to its working directory.
        cwd=tmp_path,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        printed, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode == 0, printed.decode()
    # Make the gateway reload the config, which the requests may have replaced.
    await redis_limiter.announce()
