"""Handlers for nginx in front: its question for changes, and addresses that it should answer itself."""

import asyncio
import re
from dataclasses import dataclass
from typing import Final, NoReturn, get_args

from aiohttp import web

from gateway.api.json_bodies import HEADERS
from gateway.changes.nginx_list import NginxList
from gateway.concurrency.clocks import boot_time
from gateway.delivery.accel import CONFIG_VERSION, FAILED, REDIRECTED, is_accel_conf
from gateway.delivery.nginx_files import FloorReason, NginxFiles, NginxMetrics
from gateway.delivery.request_context import peer_of
from gateway.errors import InvalidRequest, RouteNotFound
from gateway.metrics.nginx_last_asked import asking_nginx
from gateway.net.ip_address import parse_ip

_OWN_HOST: Final = "localhost"  # in config/nginx/image-gateway/changes.conf
_NUMBER: Final = re.compile(r"[0-9]{1,15}")
_REASONS: Final = get_args(FloorReason)
_MOST_EPOCHS: Final = 1_000_000  # that a question adds to a metric
_NOT_OF_NGINX: Final = (CONFIG_VERSION, "X-Forwarded-For", "Forwarded", "Via")  # fields of a request that it passes on


@dataclass(frozen=True, slots=True)
class NginxListHandler:
    """Handler that nginx asks which images have changed, to drop its copies. Counts what nginx reports of itself."""

    nginx_list: NginxList
    metrics: NginxMetrics

    async def changes(self, request: web.Request) -> web.Response:
        """Return the changes since ``since`` (Unix milliseconds), the only parameter that must be right.

        now: the time of the asker's clock, by which ``since`` is then meant. Without it, ``since`` is by this clock.
        nginx: the name of the asker.
        epochs: how many epochs the asker has set since its last answered question.
        floor: why the asker has raised its floor since then.

        Without the name of an nginx, ``epochs`` and ``floor`` are not counted.
        """
        query, metrics = request.query, self.metrics
        if not _NUMBER.fullmatch(query.get("since", "")):
            raise InvalidRequest("since must be a number of at most 15 digits")
        if (name := asking_nginx(query, request.headers)) is not None:
            metrics.nginx_asked.asks(name)
            if _NUMBER.fullmatch(epochs := query.get("epochs", "")):
                metrics.nginx_epochs.inc(min(int(epochs), _MOST_EPOCHS))
            if (reason := query.get("floor")) in _REASONS:
                metrics.nginx_floors.labels(reason).inc()
        asked_at = int(query["now"]) if _NUMBER.fullmatch(query.get("now", "")) else None
        pieces = list[str]()
        for piece in self.nginx_list.since(int(query["since"]), boot_time(), asked_at):
            pieces.append(piece)
            await asyncio.sleep(0)
        return web.Response(text="".join(pieces), content_type="application/json", headers=HEADERS)

    async def refuse(self, request: web.Request) -> NoReturn:
        """Answer on the public port, where only an nginx with a wrong address asks, as if the address did not exist.

        The question of an nginx is counted. nginx asks as ``localhost``, from an address that is not of the Internet.
        Clients raise no alarm: a proxy passes on their host, or names them or itself.
        """
        headers, peer = request.headers, parse_ip(peer_of(request) or "")
        is_own = request.host == _OWN_HOST and not any(field in headers for field in _NOT_OF_NGINX)
        if is_own and peer is not None and not peer.is_global and asking_nginx(request.query, headers) is not None:
            self.metrics.nginx_misdirected.add()
        raise RouteNotFound


@dataclass(frozen=True, slots=True)
class AccelPrefix:
    """Handler of the paths of ``X-Accel-Redirect``, which only nginx should see: answers an error.

    ``config/nginx/accel.conf`` declares the prefix ``internal``: nginx itself answers 404 to a client that requests it.
    Such a request reaches the gateway only if nginx lacks that location. Then ``X-Accel-Redirect`` leads back here, and
    every image fails.
    """

    prefix: str
    nginx_files: NginxFiles

    async def refuse(self, request: web.Request) -> NoReturn:
        """Raise ``RouteNotFound`` for the address that a client requested through ``accel.conf``.

        Its own location passes the address on as a failure, and an address with dot segments is of another location.
        With another prefix than the gateway's, it passes on the address of an ``X-Accel-Redirect`` instead. For that
        address, and for a request that does not come through ``accel.conf``, raise ``AccelNotConfigured``.
        """
        is_redirected = re.fullmatch(re.escape(self.prefix) + REDIRECTED, request.rel_url.raw_path) is not None
        if FAILED in request.headers or (is_accel_conf(request.headers) and not is_redirected):
            raise RouteNotFound
        raise self.nginx_files.accel_not_configured()
