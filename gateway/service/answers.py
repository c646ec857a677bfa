"""The part that answers the questions of commands: what this process is, and whether it holds an image."""

import asyncio
import hashlib
import json
import logging
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from gateway.concurrency.background import background
from gateway.errors import DependencyDegraded
from gateway.metrics.registry import VERSION
from gateway.process.reloader import Reloader
from gateway.redis_connection.guarded_client import CacheUnavailable
from gateway.redis_replicas.replica_questions import Question, ReplicaAnswer
from gateway.service.changes import Changes
from gateway.service.diagnostics import Diagnostics
from gateway.service.metrics import Metrics
from gateway.service.signing import Signing
from gateway.service.stores import RedisStores
from gateway.service.urls import Urls
from gateway.settings import Live, Settings

logger = logging.getLogger(__name__)

_MOST_WAITING = 100


@dataclass(frozen=True, slots=True)
class Answers:
    """Answers about this process. ``settings`` are the settings in use."""

    settings: Live[Settings]
    metrics: Metrics
    signing: Signing
    urls: Urls
    changes: Changes
    diagnostics: Diagnostics
    reloader: Reloader

    async def about_this(self) -> Mapping[str, Any]:
        """Return what this process is, as JSON."""
        return (await self.to(None)).as_json()

    async def to(self, image_id: str | None) -> ReplicaAnswer:
        """Return the answer to a question about an image, or with None about this process alone."""
        urls, renditions = self.urls, (None, *self.signing.renditions.names)
        return ReplicaAnswer(
            self.diagnostics.replica.name,
            VERSION,
            sys.prefix,
            _fingerprint(self.settings.value, self.reloader.need_restart),
            urls.shared.mac.fingerprint if urls.shared is not None else "",
            await self._state_of_changes(),
            {name: round(seconds, 1) for name, seconds in self.metrics.nginx.nginx_asked.seconds().items()},
            self._last_error(),
            image_id is not None
            and any(urls.resolver.cached_here(image_id, rendition) is not None for rendition in renditions),
        )

    async def _state_of_changes(self) -> str:
        """Return ``ok``, or why this process does not hear of changes."""
        try:
            await self.changes.probe()
        except DependencyDegraded as error:
            return str(error)
        return "ok"

    def _last_error(self) -> str:
        errors = self.metrics.server.recent_errors.newest()
        if not errors:
            return ""
        return f"{errors[0].code} {datetime.fromtimestamp(errors[0].at, UTC).isoformat(timespec='seconds')}"


@asynccontextmanager
async def answering(answers: Answers, redis: RedisStores | None) -> AsyncIterator[None]:
    """Answer the questions that come through Redis."""
    if redis is None:
        yield
        return
    waiting: asyncio.Queue[Question] = asyncio.Queue(_MOST_WAITING)

    def asked(text: str) -> None:
        question = Question.decode(text)
        if question is not None and not waiting.full():
            waiting.put_nowait(question)

    redis.channel.on_question = asked
    async with background("answers", _answer(waiting, answers, redis)):
        yield


async def _answer(waiting: "asyncio.Queue[Question]", answers: Answers, redis: RedisStores) -> None:
    while True:
        question = await waiting.get()
        try:
            await redis.questions.answer(question, await answers.to(question.image_id))
        except CacheUnavailable as error:
            logger.debug("a question is not answered: %s", error)
        except Exception:  # otherwise this process would answer no other question
            answers.metrics.registry.background_errors.labels(task="answers").inc()
            logger.exception("a question is not answered")


def _fingerprint(in_use: Settings, need_restart: Sequence[str]) -> str:
    """Return a hash of the settings in use, in which a secret is ``**********``, without what differs by design."""
    settings = in_use.model_dump(
        mode="json", exclude={"server": {"host", "port", "reuse_port"}, "admin": {"host", "port"}}
    )
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:8]
    return f"{digest} ({len(need_restart)} need a restart)" if need_restart else digest
