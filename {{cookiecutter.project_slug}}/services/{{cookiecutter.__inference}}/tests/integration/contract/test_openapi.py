"""The OpenAPI page, taken at its word: nothing crashes, and nothing is answered that it hides.

Schemathesis makes requests out of the page, also such that use what they were answered before, and
prints each finding with the curl command that repeats it.
"""

import asyncio
import shutil
import sys
from pathlib import Path

import httpx2
import pytest

from stratakit.testing import Service

from gateway.ports import Announcements

from ..people import ADMIN_TOKEN, Team

# Many requests, one after the other: on a busy machine they take longer than the tier allows.
pytestmark = pytest.mark.timeout(600)

EXAMPLES = 10
"""Random requests of each operation, besides those that the page's bounds suggest."""
# What refers to something that does not exist is refused, and no page can say what does exist.
EXCLUDED = "positive_data_acceptance"
# By default all but 413, though what is too long may be too large as well.
REFUSING = """
[checks.negative_data_rejection]
expected-statuses = ["400", "401", "403", "404", "405", "409", "413", "415", "429", "5xx"]
"""


async def check(service: Service, folder: Path, credential: str, *options: str) -> None:
    """Fail with what Schemathesis prints if it finds something."""
    program = shutil.which("schemathesis", path=str(Path(sys.executable).parent))
    assert program, "schemathesis is not installed in this environment"
    (folder / "schemathesis.toml").write_text(REFUSING, encoding="utf-8")
    process = await asyncio.create_subprocess_exec(
        *(program, "run", f"{service.url}/openapi.json", "--header"),
        *(f"Authorization: Bearer {credential}", f"--max-examples={EXAMPLES}"),
        *(f"--exclude-checks={EXCLUDED}", "--no-color", *options),
        # It leaves its reports and its examples where it is started.
        cwd=folder,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    printed, _ = await process.communicate()
    assert process.returncode == 0, printed.decode()


async def test_the_administration_keeps_its_word(
    service: Service, redis_announcements: Announcements, tmp_path: Path
) -> None:
    await check(service, tmp_path, ADMIN_TOKEN, "--include-path-regex=^/admin/")
    # The gateway is not left with the config that it was put.
    await redis_announcements.announce()


async def test_the_accounts_keep_their_word(
    service: Service, anybody: httpx2.AsyncClient, tmp_path: Path
) -> None:
    ann = {"email": "ann@example.org", "password": "correct horse battery"}
    made = await anybody.post("/auth/register", json={"team": "Ann's", **ann})
    assert made.status_code == 201
    token = (await anybody.post("/auth/login", json=ann)).json()["token"]
    # Without the way out, after which nothing would be tried but 401.
    options = ("--include-path-regex=^/auth/", "--exclude-path=/auth/logout")
    await check(service, tmp_path, token, *options)


async def test_the_models_keep_their_word(service: Service, team: Team, tmp_path: Path) -> None:
    await check(service, tmp_path, team.key, "--exclude-path-regex=^/(admin|auth)/")
