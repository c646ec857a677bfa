"""``GET /api/v1/changes``: the list of changed images, which nginx asks for to forget its copies."""

import re
from typing import Final, NoReturn, get_args

from aiohttp import web

from gateway.api.json_responses import HEADERS
from gateway.api.nginx_metrics import FloorReason, NginxMetrics
from gateway.changes.nginx_list import NginxList
from gateway.concurrency.clocks import boot_time
from gateway.delivery.accel import CONFIG_VERSION
from gateway.errors import InvalidRequest, RouteNotFound

_OWN_HOST: Final = "localhost"  # in config/nginx/image-gateway/changes.conf
_NUMBER: Final = re.compile(r"[0-9]{1,15}")
_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_REASONS: Final = get_args(FloorReason)
_MOST_EPOCHS: Final = 1_000_000  # that a question adds to a metric


class NginxChanges:
    """Answers nginx, and counts what nginx reports with its question."""

    def __init__(self, nginx_list: NginxList, metrics: NginxMetrics) -> None:
        self._list = nginx_list
        self._metrics = metrics

    async def changes(self, request: web.Request) -> web.Response:
        """Return the changes since ``since`` (Unix milliseconds), the only parameter that must be right.

        now: the time of the asker's clock, by which ``since`` is then meant. Without it, ``since`` is by this clock.
        nginx: the name of the asker.
        epochs: how many epochs the asker has set since its last answered question.
        floor: why the asker has raised its floor since then.
        """
        query, metrics = request.query, self._metrics
        if not _NUMBER.fullmatch(query.get("since", "")):
            raise InvalidRequest("since must be a number of at most 15 digits")
        if _NAME.fullmatch(name := query.get("nginx", "")):
            metrics.nginx_asked.asks(name)
        if _NUMBER.fullmatch(epochs := query.get("epochs", "")):
            metrics.nginx_epochs.inc(min(int(epochs), _MOST_EPOCHS))
        if (reason := query.get("floor")) in _REASONS:
            metrics.nginx_floors.labels(reason).inc()
        asked_at = int(query["now"]) if _NUMBER.fullmatch(query.get("now", "")) else None
        text = self._list.since(int(query["since"]), boot_time(), asked_at).as_json()
        return web.Response(text=text, content_type="application/json", headers=HEADERS)


class WrongPort:
    """Answers the question for changes on the public port, where only an nginx with a wrong address asks it.

    nginx asks as ``localhost``. Clients that ask through nginx or another proxy name the host of the images, and raise
    no alarm.
    """

    def __init__(self, metrics: NginxMetrics) -> None:
        self._misdirected = metrics.nginx_misdirected

    async def refuse(self, request: web.Request) -> NoReturn:
        """Count the question of an nginx, and answer as if the address did not exist."""
        is_nginx = request.host == _OWN_HOST and CONFIG_VERSION not in request.headers
        if is_nginx and _NAME.fullmatch(request.query.get("nginx", "")):
            self._misdirected.add()
        raise RouteNotFound
