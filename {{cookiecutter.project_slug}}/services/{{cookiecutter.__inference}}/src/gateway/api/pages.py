"""Pages beside the API: what Prometheus reads, and what shows the API."""

from typing import Annotated

from fastapi import APIRouter, Header, Request, Response
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse

METRICS = "/metrics"

router = APIRouter()

_PLACE = '<div id="swagger-ui">'
_OFFLINE = """
<p>This page gets Swagger UI from cdn.jsdelivr.net, which it has not reached. Without a network,
<a href="/openapi.json">/openapi.json</a> has all that it would show.</p>
"""


@router.get(METRICS, tags=["metrics"], response_class=Response)
async def metrics(request: Request, accept: Annotated[str, Header()] = "") -> Response:
    """Return what was counted since the process began."""
    content, media_type = request.app.state.metrics.exposition(accept)
    return Response(content, media_type=media_type)


@router.get("/docs", include_in_schema=False)
async def docs() -> HTMLResponse:
    """Return a page that Swagger UI fills in, and that says so until it does."""
    page = get_swagger_ui_html(openapi_url="/openapi.json", title="gateway")
    shown = bytes(page.body).decode().replace(_PLACE, _PLACE + _OFFLINE)
    return HTMLResponse(shown)
