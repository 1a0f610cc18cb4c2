"""Pages beside the API: metrics for Prometheus, and the API's documentation."""

from typing import Annotated

from fastapi import APIRouter, Header, Request, Response
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse
from prometheus_client.exposition import choose_encoder

METRICS = "/metrics"

router = APIRouter()

_PLACE = '<div id="swagger-ui">'
_OFFLINE = """
<p>This page loads Swagger UI from cdn.jsdelivr.net, which it could not reach. Without a network,
use <a href="/openapi.json">/openapi.json</a>, which has the same content.</p>
"""


@router.get(METRICS, tags=["metrics"], response_class=Response)
async def metrics(request: Request, accept: Annotated[str, Header()] = "") -> Response:
    """Return metrics for Prometheus, counted since the process started."""
    encode, media_type = choose_encoder(accept)
    return Response(encode(request.app.state.completions.metrics.registry), media_type=media_type)


@router.get("/docs", include_in_schema=False)
async def docs() -> HTMLResponse:
    """Return the page of Swagger UI, with a note that is shown until it has loaded."""
    page = get_swagger_ui_html(openapi_url="/openapi.json", title="gateway")
    shown = bytes(page.body).decode().replace(_PLACE, _PLACE + _OFFLINE)
    return HTMLResponse(shown)
