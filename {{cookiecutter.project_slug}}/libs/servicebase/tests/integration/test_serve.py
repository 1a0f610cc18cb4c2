"""The process, from its start to its end."""

import json
from pathlib import Path

import httpx2

from stratakit.testing import eventually, serving

SERVICE = """
from fastapi import FastAPI
from pydantic_settings import SettingsConfigDict

from servicebase import health, logs
from servicebase.middleware import AccessLog
from servicebase.serve import serve
from servicebase.settings import ServiceSettings


def create(settings):
    logs.configure(settings.log_level)
    app = FastAPI(routes=health.router(lambda: {}).routes)
    app.add_middleware(AccessLog)
    return app


class Settings(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="SAMPLE_")


if __name__ == "__main__":
    serve(Settings, "sample:create")
"""
SETTINGS = {"DATABASE_URL": "postgresql://db/name", "REDIS_URL": "redis://cache"}


async def test_it_serves_until_it_is_told_to_stop_and_ends_with_0(tmp_path: Path) -> None:
    (tmp_path / "sample.py").write_text(SERVICE, encoding="utf-8")
    # That it ends, and with 0, is seen at the end of the block.
    with serving("sample", SETTINGS, prefix="SAMPLE_", folder=tmp_path) as service:
        await service.ready()
        async with httpx2.AsyncClient(base_url=service.url) as client:
            assert (await client.get("/nothing")).status_code == 404

        def logged() -> bool:
            lines = service.output.read_text(encoding="utf-8").splitlines()
            return any(json.loads(line).get("path") == "/nothing" for line in lines)

        await eventually(logged)
