"""``GET /docs``: a readable page of ``/openapi.json``, without scripts and without internet."""

import json
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any, Final

from aiohttp import web

from gateway.api.host_guard import known_host_only
from gateway.api.openapi.document import document

_HEADERS: Final = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_METHODS: Final = ("get", "head", "post", "delete")


@known_host_only
async def docs(request: web.Request) -> web.Response:
    """Return the page."""
    del request
    return web.Response(text=page(document()), headers=_HEADERS, content_type="text/html")


def page(described: Mapping[str, Any]) -> str:
    """Return the document as HTML."""
    title = escape(described["info"]["title"])
    return "\n".join(
        [
            f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<link rel="stylesheet" href="console/console.css"></head><body class="text"><main>',
            f"<h1>{title}</h1>",
            '<p><a href="docs/errors">Error codes</a></p>',
            *(
                line
                for path, operations in described["paths"].items()
                for method in _METHODS
                if method in operations
                for line in _operation(method, path, operations[method])
            ),
            "<section><h2>Schemas</h2>",
            f"<pre>{escape(json.dumps(described['components']['schemas'], indent=2))}</pre></section>",
            "</main></body></html>",
        ]
    )


def _operation(method: str, path: str, operation: Mapping[str, Any]) -> Iterator[str]:
    yield f"<section><h2><code>{method.upper()} {escape(path)}</code></h2>"
    for text in ("summary", "description"):
        if text in operation:
            yield f"<p>{escape(operation[text])}</p>"
    for title, part in (("Parameters", "parameters"), ("Body", "requestBody"), ("Responses", "responses")):
        if operation.get(part):
            text = escape(json.dumps(operation[part], indent=2))
            yield f"<details><summary>{title}</summary><pre>{text}</pre></details>"
    yield "</section>"
