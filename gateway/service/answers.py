"""Answers to the questions of commands: what this process is, and whether it holds an image."""

import asyncio
import hashlib
import json
import logging
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime

from gateway.concurrency.background import background
from gateway.errors import DependencyDegraded
from gateway.metrics.recent_errors import RecentErrors
from gateway.metrics.registry import VERSION
from gateway.presign.style_variants import ImageVariant
from gateway.redis_connection.guarded_client import CacheUnavailable
from gateway.redis_replicas.replica_questions import Question, ReplicaAnswer, ReplicaQuestions
from gateway.service.changes import Changes
from gateway.service.service import Service
from gateway.settings import Settings

logger = logging.getLogger(__name__)

_MOST_WAITING = 100


async def answer_of(service: Service, image_id: str | None) -> ReplicaAnswer:
    """Return the answer to a question about an image, or with None about this process alone."""
    redis, renditions = service.stores.redis, (None, *service.signing.renditions.value.names)
    return ReplicaAnswer(
        name=service.diagnostics.replica.name,
        version=VERSION,
        program=sys.prefix,
        settings=_fingerprint(service.settings.value, service.reloader.need_restart),
        entry_key=redis.mac.fingerprint if redis is not None else "",
        changes=await _state_of_changes(service.changes),
        nginx={name: round(seconds, 1) for name, seconds in service.metrics.nginx.nginx_asked.seconds().items()},
        last_error=_last_error(service.metrics.server.recent_errors),
        # At any age: what cannot be read again is served as it was.
        holds=image_id is not None
        and any(
            service.urls.local.get_stale(ImageVariant(image_id, rendition)) is not None for rendition in renditions
        ),
    )


@asynccontextmanager
async def answering(service: Service) -> AsyncIterator[None]:
    """Answer the questions that come through Redis."""
    redis = service.stores.redis
    if redis is None:
        yield
        return
    waiting: asyncio.Queue[Question] = asyncio.Queue(_MOST_WAITING)

    def asked(text: str) -> None:
        question = Question.decode(text)
        if question is not None and not waiting.full():
            waiting.put_nowait(question)

    redis.channel.on_question = asked
    async with background("answers", _answer(waiting, service, redis.questions)):
        yield


async def _answer(waiting: "asyncio.Queue[Question]", service: Service, questions: ReplicaQuestions) -> None:
    while True:
        question = await waiting.get()
        try:
            with suppress(CacheUnavailable):
                await questions.answer(question, await answer_of(service, question.image_id))
        except Exception:  # otherwise this process would answer no other question
            service.metrics.registry.background_errors.labels(task="answers").inc()
            logger.exception("a question is not answered")


async def _state_of_changes(changes: Changes) -> str:
    """Return ``ok``, or why this process does not hear of changes."""
    try:
        await changes.probe()
    except DependencyDegraded as error:
        return str(error)
    return "ok"


def _last_error(recent: RecentErrors) -> str:
    errors = recent.newest()
    if not errors:
        return ""
    return f"{errors[0].code} {datetime.fromtimestamp(errors[0].at, UTC).isoformat(timespec='seconds')}"


def _fingerprint(in_use: Settings, need_restart: Sequence[str]) -> str:
    """Return a hash of the settings in use, in which a secret is ``**********``, without what differs by design."""
    own = {"server": {"host", "port", "reuse_port"}, "admin": {"host", "port"}}
    settings = in_use.model_dump(mode="json", exclude=own)
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:8]
    return f"{digest} ({len(need_restart)} need a restart)" if need_restart else digest
