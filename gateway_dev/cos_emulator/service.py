"""Request handling: find the bucket and the object, check access, record the request."""

import asyncio
import logging
import posixpath
from collections.abc import Callable
from dataclasses import dataclass, field

from aiohttp import web

from gateway_dev.cos_emulator import refusals
from gateway_dev.cos_emulator.access import Access
from gateway_dev.cos_emulator.alterations import alter, change_object
from gateway_dev.cos_emulator.answer import Answer, answer_object, answer_refusal
from gateway_dev.cos_emulator.delivery import Sender
from gateway_dev.cos_emulator.faults import Change, Faults, Fired
from gateway_dev.cos_emulator.image_rules import find_rule
from gateway_dev.cos_emulator.processed_answers import ProcessedAnswers
from gateway_dev.cos_emulator.refusals import Refusal
from gateway_dev.cos_emulator.request import CosRequest, parse_request
from gateway_dev.cos_emulator.request_log import LoggedRequest, RequestLog
from gateway_dev.cos_emulator.store import ObjectStore, StoredObject

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CosService:
    """Request handler for every bucket of a store."""

    store: ObjectStore
    access: Access
    faults: Faults
    request_log: RequestLog
    processed_answers: ProcessedAnswers
    default_bucket: str | None
    force_download: bool
    now: Callable[[], float]
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    """Set at shutdown, to end hanging answers."""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer a request for an object and record it in the request log."""
        cos_request = parse_request(request.method, request.raw_path, request.headers)
        bucket = self.bucket_of(cos_request.host)
        logged = self.request_log.open(cos_request, bucket, _peer(request))
        try:
            return await self._respond(request, cos_request, bucket, logged)
        except asyncio.CancelledError:
            logged.client_left = not self.stopping.is_set()
            raise
        except ConnectionError:
            logged.client_left = not self.stopping.is_set()
        except OSError:
            logger.warning("%r could not be read to its end", cos_request.key, exc_info=True)
        finally:
            self.request_log.close(logged)
            logger.log(
                # The gateway's health probe sends this request every few seconds.
                logging.DEBUG if (logged.method, logged.key) == ("HEAD", "") else logging.INFO,
                "%s %s %r: %s, %d bytes",
                logged.method,
                bucket,
                logged.key,
                logged.status,
                logged.bytes_sent,
            )
        # Headers are already sent: only closing the connection tells the client that the body is incomplete.
        if request.transport is not None:
            request.transport.abort()
        return web.StreamResponse()

    def bucket_of(self, host: str) -> str | None:
        """Return the host's first label if it is a bucket or the host is in a domain of COS.

        Return the default bucket, or None without one, for any other host (an IP address, a custom domain).
        """
        label, _, domain = host.partition(".")
        if domain and (label in self.store or domain.startswith(("cos.", "cos-internal."))):
            return label
        return self.default_bucket

    async def _respond(
        self, request: web.Request, cos_request: CosRequest, bucket: str | None, logged: LoggedRequest
    ) -> web.StreamResponse:
        fired = self.faults.fire(cos_request.method, cos_request.key)
        answer = await self._altered(cos_request, bucket, fired)
        return await Sender(request, answer, logged, self.stopping).send(fired.delivery)

    async def _altered(self, request: CosRequest, bucket: str | None, fired: Fired) -> Answer:
        for change in fired.alterations:
            if isinstance(change, Change) and bucket is not None:
                await change_object(self.store, bucket, request.key, change, now=self.now())
        try:
            answer = await self._object_answer(request, bucket)
        except Refusal as refusal:
            answer = answer_refusal(request, refusal, now=self.now())
        for alteration in fired.alterations:
            answer = await alter(answer, alteration, request, now=self.now())
        return answer

    async def _object_answer(self, request: CosRequest, bucket: str | None) -> Answer:
        """Return the answer without faults. Raises Refusal."""
        if request.method not in {"GET", "HEAD"}:
            raise refusals.method_not_allowed()
        if bucket is None or bucket not in self.store:
            raise refusals.no_such_bucket()
        self.access.admit(request)
        if posixpath.normpath("/" + request.path.strip("/")) == "/":
            raise refusals.access_denied()  # "/../" denotes the bucket, which this emulator does not list
        stored = await self.store.find(bucket, request.key)
        if stored is None:
            raise refusals.no_such_key()
        if stored.archived:
            raise refusals.invalid_object_state()
        try:
            if rule := find_rule(request):
                return await self.processed_answers.answer(request, bucket, stored, rule, self._answer_stored)
            return await self._answer_stored(request, stored)
        except OSError as unreadable:  # a file removed since the look-up
            raise refusals.no_such_key() from unreadable

    async def _answer_stored(self, request: CosRequest, stored: StoredObject) -> Answer:
        return await answer_object(request, stored, now=self.now(), force_download=self.force_download)


def _peer(request: web.Request) -> tuple[str, int]:
    # The transport is None after the client disconnects; aiohttp may still handle a buffered request.
    peer = request.transport.get_extra_info("peername") if request.transport else None
    return (peer[0], peer[1]) if peer else ("", 0)
