"""Clients of OpenAI's API in other languages, if these are installed."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from stratakit.errors import AbsentError

from .conftest import Access

HERE = Path(__file__).parent
PACKAGES = ("openai", "ai", "@ai-sdk/openai-compatible", "zod")


def run(*command: str | Path, folder: Path, access: Access | None = None) -> None:
    """Run a program that fails unless it gets correct responses."""
    told = {"OPENAI_BASE_URL": access.url, "OPENAI_API_KEY": access.key} if access else {}
    subprocess.run(command, cwd=folder, env={**os.environ, **told}, check=True, timeout=240)


@pytest.mark.timeout(300)
def test_openai_and_ai_sdk_of_npm_work_with_the_gateway(access: Access, tmp_path: Path) -> None:
    node, npm = shutil.which("node"), shutil.which("npm")
    if not node or not npm:
        raise AbsentError("there is no Node with npm", part="node")
    run(npm, "install", "--no-audit", "--no-fund", "--silent", *PACKAGES, folder=tmp_path)
    program = shutil.copy(HERE / "clients.mjs", tmp_path)
    run(node, program, folder=tmp_path, access=access)


def test_http_client_of_the_jdk_works_with_the_gateway(access: Access, tmp_path: Path) -> None:
    java = shutil.which("java")
    if not java:
        # No other client here sends its `Upgrade: h2c`.
        raise AbsentError("there is no JDK", part="java")
    run(java, HERE / "Client.java", folder=tmp_path, access=access)
