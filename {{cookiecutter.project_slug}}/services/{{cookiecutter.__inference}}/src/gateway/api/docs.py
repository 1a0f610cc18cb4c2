"""The page that shows the API, and what FastAPI says of it that is not so."""

from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse

router = APIRouter(include_in_schema=False)

_PLACE = '<div id="swagger-ui">'
_OFFLINE = """
<p>This page gets Swagger UI from cdn.jsdelivr.net, which it has not reached. Without a network,
<a href="/openapi.json">/openapi.json</a> has all that it would show.</p>
"""


@router.get("/docs")
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
