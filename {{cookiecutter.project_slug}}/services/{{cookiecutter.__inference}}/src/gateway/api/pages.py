"""Pages beside the API: what Prometheus reads, and what shows the API."""

from typing import Annotated, Any

from fastapi import APIRouter, FastAPI, Header, Request, Response
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


def correct(app: FastAPI) -> None:
    """Take 422 from the OpenAPI page of `app`: a wrong value is answered with 400."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        page = generate()
        for path in page["paths"].values():
            for operation in path.values():
                operation["responses"].pop("422", None)
        for name in ("HTTPValidationError", "ValidationError"):
            page["components"]["schemas"].pop(name, None)
        return page

    app.openapi = openapi  # type: ignore[method-assign]  # as FastAPI's documentation extends it
