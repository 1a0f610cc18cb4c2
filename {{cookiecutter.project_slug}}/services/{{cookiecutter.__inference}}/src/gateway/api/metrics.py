"""What Prometheus reads."""

from typing import Annotated

from fastapi import APIRouter, Header, Request, Response

PATH = "/metrics"

router = APIRouter(tags=["metrics"])


@router.get(PATH, response_class=Response)
async def metrics(request: Request, accept: Annotated[str, Header()] = "") -> Response:
    """Return what was counted since the process began."""
    content, media_type = request.app.state.metrics.exposition(accept)
    return Response(content, media_type=media_type)
