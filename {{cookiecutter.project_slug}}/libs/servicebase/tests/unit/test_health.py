"""The probes."""

import httpx2
import pytest
from structlog.typing import EventDict

from servicebase.idempotency import MemoryIdempotency

from ..notes import MemoryNotes


@pytest.mark.parametrize("down", [[], ["notes"], ["keys"], ["notes", "keys"]])
async def test_ready_answers_503_and_names_what_is_down_while_live_answers_200(
    client: httpx2.AsyncClient,
    memory_notes: MemoryNotes,
    memory_idempotency: MemoryIdempotency,
    lines: list[EventDict],
    down: list[str],
) -> None:
    memory_notes.down = "notes" in down
    memory_idempotency.down = "keys" in down
    live, ready = [await client.get(f"/health/{probe}") for probe in ("live", "ready")]
    assert (live.status_code, live.json()) == (200, {"status": "live"})
    if down:
        assert ready.status_code == 503
        assert ready.headers["content-type"] == "application/problem+json"
        assert ready.json()["detail"] == f"down: {', '.join(down)}"
        assert [line["server"] for line in lines if line["event"] == "down"] == down
    memory_notes.down = memory_idempotency.down = False
    again = await client.get("/health/ready")
    assert (again.status_code, again.json()) == (200, {"status": "ready"})
