"""llama.cpp's server with the model of model.py, in a process of its own."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2

KEY = "sk-of-the-engine"
"""API key that it accepts."""
SLOTS = 4
"""Number of concurrent requests; others wait."""
CONTEXT = 8192
"""Maximum tokens of a prompt and its completion together."""
TIMEOUT = 30.0
"""Timeout of a client in seconds, on a machine that is busy with other tests."""


@dataclass(frozen=True, slots=True)
class Engine:
    """A running engine."""

    process: subprocess.Popen[bytes]
    url: str
    """Its base URL, without the `/v1` of its API."""

    def client(self, key: str = KEY) -> httpx2.AsyncClient:
        """Return a client of its API; the caller closes it."""
        return httpx2.AsyncClient(
            base_url=f"{self.url}/v1",
            headers={"Authorization": f"Bearer {key}"},
            timeout=TIMEOUT,
        )


@contextmanager
def running(folder: Path, *, seed: int = 1) -> Iterator[Engine]:
    """Start an engine with a model made from `seed`, and stop it at the end.

    It exits at the end of its standard input, so it never outlives this process.

    Args:
        folder: an empty folder for the model and the engine's output.
        seed: seed of the model.

    Raises:
        AssertionError: it did not start; the message has its output.
    """
    said = folder / "output"
    with (
        said.open("wb") as output,
        subprocess.Popen(
            (sys.executable, "-m", "clients.server", folder / "model.gguf", str(seed)),
            cwd=Path(__file__).parents[1],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=output,
        ) as process,
    ):
        try:
            assert process.stdout
            # One line once it is listening; empty if it exits before.
            url = process.stdout.readline().decode().strip()
            if not url:
                raise AssertionError(said.read_text(encoding="utf-8"))
            yield Engine(process, url)
        finally:
            process.kill()


def _main(path: Path, seed: int) -> None:
    # Imported here: they take half a second, and only this process needs them.
    import xllamacpp

    from . import model

    model.write(path, seed=seed, context=CONTEXT)
    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.model_alias = {f"tiny-{seed}"}
    params.api_keys = [KEY]
    params.port = 0
    params.n_parallel = SLOTS
    params.n_ctx = SLOTS * CONTEXT
    # The machine is shared with the tests, and with so small a model more threads are slower.
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    # A keep-alive connection occupies one of these.
    params.n_threads_http = 64
    # Results must not depend on previous requests.
    params.cache_prompt = False
    params.cache_ram_mib = 0
    # Nor on concurrent ones: half precision rounds so much that another batch changes the result.
    params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    params.warmup = params.fit_params = params.ui = False
    params.verbosity = 1
    server = xllamacpp.Server(params)
    sys.stdout.write(f"{server.listening_address}\n")
    sys.stdout.flush()
    sys.stdin.read()
    # Without cleanup, even during a request: it keeps no state.
    os._exit(0)


if __name__ == "__main__":
    _main(Path(sys.argv[1]), int(sys.argv[2]))
