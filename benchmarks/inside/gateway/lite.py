"""LiteLLM's proxy, started as its documents say: one process, one model with a mocked response."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

import psutil
from clients import WORDS
from stratakit.servers.waiting import until

PACKAGE = "litellm[proxy]>=1.80,<2"
KEY = "sk-for-this-benchmark-alone"
PATIENCE = 180
"""Timeout in seconds for installing its packages and its first response."""


@contextmanager
def proxy(folder: Path, port: int) -> Iterator[psutil.Process]:
    """Run the proxy on a port, in an environment of its own; yield its process."""
    config = folder / "litellm.json"
    mocked = {"model": "openai/own", "api_key": "none", "mock_response": WORDS}
    config.write_text(
        json.dumps(
            {
                "model_list": [{"model_name": "own", "litellm_params": mocked}],
                "general_settings": {"master_key": KEY},
                "litellm_settings": {"telemetry": False},
            }
        ),
        encoding="utf-8",
    )
    command = (
        *("uvx", "--quiet", "--python", sys.executable, "--from", PACKAGE, "litellm"),
        *("--config", str(config), "--host", "127.0.0.1", "--port", str(port)),
        *("--num_workers", "1"),
    )
    # Otherwise it would log every request.
    quiet = {**os.environ, "LITELLM_LOG": "ERROR"}
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, env=quiet) as installer:
        try:
            _wait(installer, f"http://127.0.0.1:{port}/health/liveliness")
            # On POSIX as on Windows, `uvx` stays the parent of the program.
            (served,) = psutil.Process(installer.pid).children()
            yield served
        finally:
            for process in psutil.Process(installer.pid).children(recursive=True):
                process.kill()
            installer.terminate()


def _wait(process: subprocess.Popen[bytes], url: str) -> None:
    def answers() -> None:
        if process.poll() is not None:
            raise ChildProcessError(f"{process.args!r} has ended with {process.returncode}")
        urlopen(url, timeout=5).close()  # noqa: S310 - a local address

    until(answers, PATIENCE, unless=ChildProcessError, interval=0.2)
