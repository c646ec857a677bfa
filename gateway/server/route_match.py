"""The result of aiohttp's router for a request. A request that never reached the router has no result."""

from aiohttp import web

UNMATCHED = "unmatched"


def route_name(request: web.BaseRequest) -> str:
    """Return the name of the matched route, which comes from a closed set, or ``unmatched``."""
    name = request.match_info.route.name if isinstance(request, web.Request) else None
    return name or UNMATCHED


def image_id_in_path(request: web.BaseRequest) -> str | None:
    """Return the image id in the path of the matched route, not yet validated, or None without one."""
    return request.match_info.get("image_id") if isinstance(request, web.Request) else None
