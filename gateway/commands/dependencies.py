"""What commands open: credentials, Postgres and Redis. A failed one ends a command with a line."""

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

import click
from pydantic import ValidationError

from gateway.catalog.image_id import parse_image_id
from gateway.catalog.record import ImageRecord
from gateway.commands.config_option import settings_from
from gateway.errors import CatalogUnavailable, DependencyDown, GatewayError
from gateway.net.bounded_http import BoundedHttp, ServiceUnavailable
from gateway.purge.intake import PurgeIntake
from gateway.redis_connection.guarded_client import CacheUnavailable
from gateway.redis_replicas.replica_questions import ANSWER, ReplicaAnswer
from gateway.service.changes import Changes
from gateway.service.metrics import Metrics
from gateway.service.signing import Signing, open_signing
from gateway.service.stores import Stores, open_stores
from gateway.service.urls import Urls
from gateway.settings import Live, Settings

T = TypeVar("T")

_RUNNING: Final = "/api/v1/monitoring/running"


@dataclass(frozen=True, slots=True)
class Dependencies:
    """What a command opens of the gateway: credentials, Postgres, Redis. None has to answer until it is asked."""

    live: Live[Settings]
    metrics: Metrics
    signing: Signing
    stores: Stores

    def open_urls(self, purges: PurgeIntake | None = None) -> "aclosing[Urls]":
        """Open the cached URLs, whose invalidation passes changes on to ``purges``."""
        changes = Changes(self.live)
        return aclosing(Urls(self.live, self.metrics.urls, self.signing, self.stores, purges, changes))

    async def active_record(self, image_id: str) -> ImageRecord:
        """Return the image's record. Raises ``click.ClickException`` if the table has no active row with this id."""
        record = await self.stores.catalog.fetch(parse_image_id(image_id))
        if record is None:
            raise click.ClickException("there is no such image, or it is not active")
        return record


@asynccontextmanager
async def open_dependencies(settings: Settings) -> AsyncIterator[Dependencies]:
    """Open the credentials, and pools of connections to Redis and Postgres."""
    live, metrics = Live(settings), Metrics()
    async with (
        open_signing(live, metrics.presign) as signing,
        open_stores(live, metrics.catalog, metrics.monitoring, signing) as stores,
    ):
        yield Dependencies(live, metrics, signing, stores)


class Answers(NamedTuple):
    """What gateways have answered to a command.

    given: by name.
    silent: the names that Redis lists and that did not answer.
    redis_problem: why Redis does not answer. None: it does, or is not configured.
    is_listed: whether Redis lists gateways, or does not answer.
    unasked: why an admin port gave no answer, or not those of all its workers, by its URL.
    """

    given: Mapping[str, ReplicaAnswer]
    silent: Sequence[str]
    redis_problem: str | None
    is_listed: bool
    unasked: Mapping[str, str]


async def ask_gateways(
    opened: Dependencies, http: BoundedHttp, admin: Sequence[str], seconds: float, image_id: str | None = None
) -> Answers:
    """Ask those that Redis lists, for up to ``seconds``, and those behind the admin ports (URLs), about an image."""
    at_ports = asyncio.gather(*(_ask_admin_port(http, url, image_id) for url in admin))
    (given, listed, problem), ports = await asyncio.gather(_ask_through_redis(opened, seconds, image_id), at_ports)
    is_listed = bool(given or listed or problem)
    for found, _ in ports:
        given |= {answer.name: answer for answer in found}
    unasked = {url: why for url, (_, why) in zip(admin, ports, strict=True) if why}
    return Answers(given, sorted(listed - given.keys()), problem, is_listed, unasked)


async def _ask_through_redis(
    opened: Dependencies, seconds: float, image_id: str | None
) -> tuple[dict[str, ReplicaAnswer], set[str], str | None]:
    """Return the answers, the names that Redis lists, and why Redis does not answer."""
    if (redis := opened.stores.redis) is None:
        return {}, set(), None
    try:
        listed = {point.name for point in await redis.replicas.read()}
        question = await redis.questions.ask(image_id)
        deadline = time.monotonic() + seconds
        while True:
            answers = {answer.name: answer for answer in await redis.questions.answers(question)}
            if (listed and listed <= answers.keys()) or time.monotonic() > deadline:
                return answers, listed, None
            await asyncio.sleep(0.05)
    except DependencyDown as error:
        return {}, set(), str(error)


async def _ask_admin_port(http: BoundedHttp, url: str, image_id: str | None) -> tuple[list[ReplicaAnswer], str]:
    """Return the answers of the processes behind an admin port, and why there are not all."""
    path = _RUNNING if image_id is None else f"{_RUNNING}/{image_id}"
    try:
        data = json.loads(await http.get(url.rstrip("/") + path))["data"]
        found, silent = [ANSWER.validate_python(each) for each in data["replicas"]], int(data.get("silent", 0))
    except ServiceUnavailable as error:
        return [], f"no answer: {error}"
    except (ValueError, KeyError, TypeError, AttributeError, ValidationError, RecursionError):
        return [], "no answer: its answer is not that of this release"
    return found, f"{silent} of its workers do not answer" if silent else ""


def run_or_explain(config: Path | None, work: Callable[[Dependencies], Coroutine[Any, Any, T]]) -> T:
    """Run ``work``. Print a failed dependency or an error of the gateway as a line and exit with ``FAILED``."""
    settings = settings_from(config)

    async def run() -> T:
        async with open_dependencies(settings) as opened:
            return await work(opened)

    # The error says why there are no credentials.
    logging.getLogger("gateway.presign.credentials").addHandler(logging.NullHandler())
    try:
        return asyncio.run(run())
    except (DependencyDown, GatewayError) as error:
        # "no answer within 5 s" does not name the dependency.
        named = ((CatalogUnavailable, "postgres: "), (CacheUnavailable, "redis: "))
        prefix = "".join(name for kind, name in named if isinstance(error, kind))
        raise click.ClickException(prefix + (str(error) or type(error).__name__)) from None
