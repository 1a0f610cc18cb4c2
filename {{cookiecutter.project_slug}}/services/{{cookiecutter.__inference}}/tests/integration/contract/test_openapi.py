"""The OpenAPI page, taken at its word: nothing crashes, and nothing is answered that it hides.

Schemathesis makes requests out of the page, also such that use what they were answered before, and
prints each finding with the curl command that repeats it.
"""

import asyncio
import shutil
import sys
from pathlib import Path

import pytest

from stratakit.testing import Service

from gateway.ports import Announcements

EXAMPLES = 10
"""Random requests of each operation, besides those that the page's bounds suggest."""
# What refers to something that does not exist is refused, and no page can say what does exist.
EXCLUDED = "positive_data_acceptance"
# By default all but 413, though what is too long may be too large as well.
REFUSING = """
[checks.negative_data_rejection]
expected-statuses = ["400", "401", "403", "404", "405", "409", "413", "415", "429", "5xx"]
"""


OPTIONS = {
    "admin": ["--include-path-regex=^/admin/"],
    # Without the way out, after which nothing would be tried but 401.
    "ann": ["--include-path-regex=^/auth/", "--exclude-path=/auth/logout"],
    "client": ["--exclude-path-regex=^/(admin|auth)/"],
}
"""What each of the clients may try."""


@pytest.fixture(params=OPTIONS)
def tried(request: pytest.FixtureRequest) -> list[str]:
    """Return who asks, and for what."""
    headers = request.getfixturevalue(request.param).headers
    return ["--header", f"Authorization: {headers['Authorization']}", *OPTIONS[request.param]]


# Many requests, one after the other: on a busy machine they take longer than the tier allows.
@pytest.mark.timeout(600)
async def test_the_api_keeps_its_word(
    service: Service, redis_announcements: Announcements, tried: list[str], tmp_path: Path
) -> None:
    program = shutil.which("schemathesis", path=str(Path(sys.executable).parent))
    assert program, "schemathesis is not installed in this environment"
    (tmp_path / "schemathesis.toml").write_text(REFUSING, encoding="utf-8")
    process = await asyncio.create_subprocess_exec(
        *(program, "run", f"{service.url}/openapi.json", *tried, "--no-color"),
        *(f"--max-examples={EXAMPLES}", f"--exclude-checks={EXCLUDED}"),
        # It leaves its reports and its examples where it is started.
        cwd=tmp_path,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    printed, _ = await process.communicate()
    assert process.returncode == 0, printed.decode()
    # The gateway is not left with the config that it was put.
    await redis_announcements.announce()
