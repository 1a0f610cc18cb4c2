"""The API against its OpenAPI document: no crash, and no undocumented response.

Schemathesis generates requests from the document, also sequences that use earlier responses, and
prints each finding with a curl command that reproduces it.
"""

import asyncio
import shutil
import sys
from pathlib import Path

import pytest

from stratakit.testing import Service

from gateway.ports import Announcements

EXAMPLES = 10
"""Random requests for each operation, besides those at the bounds of the schema."""
# References to missing resources are refused, and a schema cannot tell which ids exist.
EXCLUDED = "positive_data_acceptance"
# The defaults and 413, since a value that is too long may make the body too large.
REFUSING = """
[checks.negative_data_rejection]
expected-statuses = ["400", "401", "403", "404", "405", "409", "413", "415", "429", "5xx"]
"""


OPTIONS = {
    "admin": ["--include-path-regex=^/admin/"],
    # After a logout, all other requests would return 401.
    "ann": ["--include-path-regex=^/auth/", "--exclude-path=/auth/logout"],
    "client": ["--exclude-path-regex=^/(admin|auth)/"],
}
"""Schemathesis options for each client: the paths that it may request."""


@pytest.fixture(params=OPTIONS)
def tried(request: pytest.FixtureRequest) -> list[str]:
    """Schemathesis options: the credential of a client, and its paths."""
    headers = request.getfixturevalue(request.param).headers
    return ["--header", f"Authorization: {headers['Authorization']}", *OPTIONS[request.param]]


# These are many sequential requests: a busy machine may exceed the tier's timeout.
@pytest.mark.timeout(600)
async def test_the_api_conforms_to_its_openapi_document(
    service: Service, redis_announcements: Announcements, tried: list[str], tmp_path: Path
) -> None:
    program = shutil.which("schemathesis", path=str(Path(sys.executable).parent))
    assert program, "schemathesis is not installed in this environment"
    (tmp_path / "schemathesis.toml").write_text(REFUSING, encoding="utf-8")
    process = await asyncio.create_subprocess_exec(
        *(program, "run", f"{service.url}/openapi.json", *tried, "--no-color"),
        *(f"--max-examples={EXAMPLES}", f"--exclude-checks={EXCLUDED}"),
        # It writes reports and examples to its working directory.
        cwd=tmp_path,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    printed, _ = await process.communicate()
    assert process.returncode == 0, printed.decode()
    # Make the gateway reload the config, which the requests may have replaced.
    await redis_announcements.announce()
