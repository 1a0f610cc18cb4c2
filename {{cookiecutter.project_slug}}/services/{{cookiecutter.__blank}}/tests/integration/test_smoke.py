"""Service process, started as in production."""

import json

import httpx2
from redis.asyncio import Redis

from stratakit.testing import Service, eventually, timed

from {{ cookiecutter.__package }}.api.routes import PATH


async def test_it_starts_and_serves_until_it_is_told_to_stop(
    service: Service, redis_client: Redis
) -> None:
    await service.ready()

    async with timed(httpx2.AsyncClient(base_url=service.url)) as client:
        headers = {"Idempotency-Key": "key"}
        response = await client.post(PATH, json={"name": "lamp"}, headers=headers)
        assert response.status_code == 201
        assert await redis_client.keys("*key*") == ["{{ cookiecutter.service }}:idempotency:key"]
        # Enough for the percentiles in the summary to mean something.
        for _ in range(20):
            stored = await client.get(response.headers["location"])
            assert stored.json() == response.json()

    def logged() -> bool:
        lines = service.output.read_text(encoding="utf-8").splitlines()
        return any({"request_id", "status", "path"} <= json.loads(line).keys() for line in lines)

    await eventually(logged)
    # It stops while other tests run. The end of the session checks that it exits, with 0.
    service.process.terminate()
