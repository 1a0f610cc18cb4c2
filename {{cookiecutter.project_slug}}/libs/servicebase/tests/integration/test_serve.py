"""Server process, from its start to its end."""

import asyncio
import json
from pathlib import Path

import httpx2
import pytest

from stratakit.testing import eventually, serving

SERVICE = """
import asyncio

import structlog
from fastapi import FastAPI

from servicebase import health, logs
from servicebase.middleware import AccessLog, BodyLimit
from servicebase.serve import serve
from servicebase.settings import ServiceSettings


def create(settings):
    logs.configure(settings.log_level)
    app = FastAPI(routes=health.router(lambda: {}).routes)
    app.add_middleware(BodyLimit)
    app.add_middleware(AccessLog)

    @app.get("/forever")
    async def forever():
        structlog.get_logger().info("begun")
        await asyncio.Event().wait()

    return app


class Settings(ServiceSettings, env_prefix="SAMPLE_"):
    pass


if __name__ == "__main__":
    serve(Settings, "sample:create")
"""
SETTINGS = {
    "DATABASE_URL": "postgresql://db/name",
    "REDIS_URL": "redis://cache",
    "SHUTDOWN_GRACE": "0",
    "CLIENT_TIMEOUT": "0.5",
}


async def test_it_serves_until_sigterm_answers_pending_requests_with_503_and_exits_with_0(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Some platforms set it, for servers that are started in another way.
    monkeypatch.setenv("WEB_CONCURRENCY", "4")
    (tmp_path / "sample.py").write_text(SERVICE, encoding="utf-8")

    def logged(**line: object) -> bool:
        lines = service.output.read_text(encoding="utf-8").splitlines()
        return any(line.items() <= json.loads(each).items() for each in lines)

    # The end of the block checks that it exits, with 0.
    with serving("sample", SETTINGS, prefix="SAMPLE_", folder=tmp_path) as service:
        await service.ready()
        # A client that sends nothing is dropped.
        reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
        assert await reader.read() == b""
        writer.close()
        async with httpx2.AsyncClient(base_url=service.url) as client:
            assert (await client.get("/nothing")).status_code == 404
            await eventually(lambda: logged(path="/nothing", status=404))
            answer = asyncio.create_task(client.get("/forever"))
            await eventually(lambda: logged(event="begun"))
            service.process.terminate()
            response = await answer
    assert (response.status_code, response.headers["retry-after"]) == (503, "1")
    assert response.json()["detail"] == "the service is stopping; try again"
    assert logged(event="Application startup complete.")
    assert logged(event="Application shutdown complete.")
