"""llama.cpp's own server on the model of model.py, in a process of its own."""

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
"""Requests that it answers at the same time; others wait."""
CONTEXT = 8192
"""Tokens of a prompt and its answer together."""
TIMEOUT = 30.0
"""Seconds that a client waits for it, on a machine that is busy with other tests."""


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

    It reads its standard input, which ends with this process, however that ends: none is left over.

    Args:
        folder: an empty folder, for the model and for what the engine says.
        seed: another one makes another model.

    Raises:
        AssertionError: it did not start; the message holds what it said.
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
            # One line, as soon as it listens; an empty one if it ends before.
            url = process.stdout.readline().decode().strip()
            if not url:
                raise AssertionError(said.read_text(encoding="utf-8"))
            yield Engine(process, url)
        finally:
            process.kill()


def _main(path: Path, seed: int) -> None:
    # Here, since they take half a second, and only this process needs them.
    import xllamacpp  # type: ignore[import-untyped]

    from . import model

    model.write(path, seed=seed, context=CONTEXT)
    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.model_alias = {f"tiny-{seed}"}
    params.api_keys = [KEY]
    params.port = 0
    params.n_parallel = SLOTS
    params.n_ctx = SLOTS * CONTEXT
    # The machine is shared with the tests, and the model so small that a second thread costs time.
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    # A connection that is kept alive holds one of these.
    params.n_threads_http = 64
    # What is computed must not depend on what was asked before.
    params.cache_prompt = False
    params.cache_ram_mib = 0
    # Nor on what is computed beside it: halves round so much that another batch is another answer.
    params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    params.warmup = params.fit_params = params.ui = False
    params.verbosity = 1
    server = xllamacpp.Server(params)
    sys.stdout.write(f"{server.listening_address}\n")
    sys.stdout.flush()
    sys.stdin.read()
    # At once, whatever it is at: nothing of it is kept.
    os._exit(0)


if __name__ == "__main__":
    _main(Path(sys.argv[1]), int(sys.argv[2]))
