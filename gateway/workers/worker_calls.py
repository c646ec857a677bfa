"""Requests of the supervisor to the admin ports of its workers."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Final, TypeVar

import aiohttp
from aiohttp import hdrs, web
from multidict import CIMultiDict
from pydantic import BaseModel
from yarl import URL

from gateway.workers.worker import Worker
from gateway.workers.worker_channel import SUPERVISOR_PEER

logger = logging.getLogger(__name__)

_TIMEOUT: Final = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=120)  # a reload may take a minute
_KEEPALIVE: Final = 1.5  # seconds; a worker closes an idle connection after three
_OWN_TIMEOUT: Final = 5.0  # seconds for health and metrics
# Fields of one connection (RFC 9110 section 7.6.1), and the length, which each side states for itself.
_HOP_BY_HOP: Final = frozenset(
    {"connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "proxy-connection", "content-length"}
)
# Fields that the client library adds: the worker sees what the operator sent.
_AUTOMATIC: Final = (hdrs.ACCEPT, hdrs.ACCEPT_ENCODING, hdrs.USER_AGENT, hdrs.CONTENT_TYPE)

Data = TypeVar("Data", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer from the admin port of a worker."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def data(self, model: type[Data]) -> Data | None:
        """Return the data of the answer, or None for an error, or for the answer of another version."""
        try:
            return model.model_validate(json.loads(self.body)["data"])
        except (ValueError, KeyError, TypeError, RecursionError):
            return None

    def response(self) -> web.Response:
        return web.Response(status=self.status, headers=_end_to_end(self.headers), body=self.body)


@dataclass(frozen=True, slots=True)
class WorkerCalls:
    """HTTP client of the supervisor for the admin ports of its workers. None stands for a worker without an answer."""

    session: aiohttp.ClientSession

    async def get(
        self, workers: Sequence[Worker], path: str, timeout: float = _OWN_TIMEOUT
    ) -> dict[Worker, Answer | None]:
        """Return the answer of each worker to a GET of ``path``, within ``timeout`` seconds."""
        gets = (self.session.get(worker.admin + path, headers=worker.headers) for worker in workers)
        answers = await asyncio.gather(*(_whole(get, timeout) for get in gets))
        return dict(zip(workers, answers, strict=True))

    async def repeat(self, request: web.Request, worker: Worker, path: str | None = None) -> Answer | None:
        """Return the whole answer of a worker to the request. A ``path`` replaces its path, with a time limit."""
        sent = self._sent(request, worker, path or request.rel_url.raw_path_qs)
        return await _whole(sent, _OWN_TIMEOUT if path is not None else None)

    async def pass_on(self, request: web.Request, worker: Worker) -> web.StreamResponse | None:
        """Send the request to a worker, and its answer to the client as it comes. None if it does not listen.

        An answer cut short resets the client's connection. Raises ``ClientError`` or ``TimeoutError`` if there is none.
        """
        try:
            async with self._sent(request, worker, request.rel_url.raw_path_qs) as answer:
                response = web.StreamResponse(status=answer.status, headers=_end_to_end(answer.headers))
                if (length := answer.headers.get(hdrs.CONTENT_LENGTH)) is not None:
                    response.content_length = int(length)
                await response.prepare(request)
                try:
                    async for chunk in answer.content.iter_any():
                        await response.write(chunk)
                    await response.write_eof()
                except (aiohttp.ClientError, TimeoutError):
                    logger.warning("an answer of the admin port broke off: path=%s", request.path)
                    if request.transport is not None:
                        request.transport.abort()  # an error after it would be read as the rest of the answer
                return response
        except aiohttp.ClientConnectorError:  # nothing was sent: another worker may answer
            return None

    @asynccontextmanager
    async def _sent(self, request: web.Request, worker: Worker, path: str) -> AsyncIterator[aiohttp.ClientResponse]:
        headers = _end_to_end(request.headers)
        headers.update({**worker.headers, SUPERVISOR_PEER: request.remote or ""})
        url, body = URL(worker.admin + path, encoded=True), await request.read() or None
        async with self.session.request(
            request.method, url, headers=headers, data=body, allow_redirects=False, skip_auto_headers=_AUTOMATIC
        ) as answer:
            yield answer


@asynccontextmanager
async def worker_calls() -> AsyncIterator[WorkerCalls]:
    # Connections are kept for the questions of nginx, five a second.
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEPALIVE)
    async with aiohttp.ClientSession(
        connector=connector, timeout=_TIMEOUT, auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar()
    ) as session:
        yield WorkerCalls(session)


async def _whole(sent: AbstractAsyncContextManager[aiohttp.ClientResponse], timeout: float | None) -> Answer | None:
    try:
        async with asyncio.timeout(timeout), sent as answer:
            return Answer(answer.status, answer.headers.copy(), await answer.read())
    except (aiohttp.ClientError, TimeoutError):
        return None


def _end_to_end(headers: Mapping[str, str]) -> CIMultiDict[str]:
    return CIMultiDict((name, value) for name, value in headers.items() if name.lower() not in _HOP_BY_HOP)
