"""``GET /openapi.json``: the description of the public port, which is written in ``openapi.yaml``."""

import asyncio
import json
from functools import lru_cache
from importlib import resources
from typing import Any

import yaml
from aiohttp import web


def document() -> Any:
    """Return the description. Reading it takes some milliseconds."""
    text = (resources.files("gateway.api") / "openapi.yaml").read_text(encoding="utf-8")
    return yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - both are safe


@lru_cache(maxsize=1)
def _encoded() -> bytes:
    return json.dumps(document()).encode() + b"\n"


async def openapi(_: web.Request) -> web.Response:
    return web.Response(
        body=await asyncio.to_thread(_encoded),
        content_type="application/json",
        headers={"Access-Control-Allow-Origin": "*", "Cache-Control": "public, max-age=300"},
    )
