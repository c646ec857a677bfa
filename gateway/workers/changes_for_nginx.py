"""The list of changes for nginx: a worker's list, which is repeated while no worker hears of a change."""

import json
import re
import time
from asyncio.staggered import staggered_race
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from aiohttp import HttpVersion11, hdrs, web
from aiohttp.http import RawRequestMessage
from yarl import URL

from gateway.api.json_bodies import HEADERS
from gateway.changes.nginx_list import LISTED_AGAIN_FOR
from gateway.delivery.prepared_response import Prepared, fields
from gateway.delivery.request_context import RequestContext
from gateway.errors import NoWorker
from gateway.workers.supervisor import Supervisor
from gateway.workers.worker import Worker
from gateway.workers.worker_calls import Answer, WorkerCalls

CHANGES: Final = "/api/v1/changes"
HURRY: Final = 0.2  # seconds; without a list of changes within half a second nginx asks another gateway
_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")  # of an nginx
# The question of changes.js when nginx has nothing to report.
_QUESTION: Final = re.compile(
    rf"{CHANGES}\?since=(?P<since>[0-9]{{1,15}})&now=(?P<now>[0-9]{{1,15}})"
    rf"&epochs=0&nginx=(?P<nginx>{_NAME.pattern})"
)
_NUMBER: Final = re.compile(r"[0-9]{1,15}")
_KEPT_FOR: Final = 1.0  # seconds
_MOST_ASKERS: Final = 100
_HEAD: Final = fields({"Content-Type": "application/json; charset=utf-8", **HEADERS}).encode()

Heard = list[tuple[Worker, float]]


@dataclass(frozen=True, slots=True)
class _Kept:
    """The last list for nginx that named no change, to send again until a worker hears of a change.

    heard: what the workers had sent before they were asked.
    reach: how many milliseconds before it was made the list begins.
    made_at: seconds of the monotonic clock, not before it was made.
    """

    reach: int
    made_at: float
    heard: Heard
    body: bytes


@dataclass(slots=True)
class ListForNginx:
    """Answers nginx's question for changed images, which each nginx asks five times a second.

    A list without a change is the answer to further questions of the same nginx for a second. Any worker that hears of
    a change ends that at once. So a question needs no request to a worker, which costs more than the question itself.
    ``hurry``: the seconds after which another worker is asked, too.
    """

    supervisor: Supervisor
    calls: WorkerCalls
    hurry: float
    _kept: dict[tuple[str | None, str], _Kept] = field(default_factory=dict, init=False)

    def at_once(self, message: RawRequestMessage, peer: str | None) -> bytes | None:
        """Return the response with a kept list, or None. The request had its ``Host`` when the list was asked for."""
        del peer
        question = _QUESTION.fullmatch(message.path)
        if question is None or message.method != hdrs.METH_GET or message.version != HttpVersion11:
            return None
        kept = self._kept.get((message.headers.get(hdrs.HOST), question["nginx"]))
        if kept is None or self._heard() != kept.heard:
            return None
        age = time.monotonic() - kept.made_at
        if age >= _KEPT_FOR or int(question["now"]) - int(question["since"]) > kept.reach + age * 1000:
            return None
        response = Prepared.of(_HEAD, "", kept.body)
        RequestContext(message.headers.get("X-Request-Id")).stamp(response)
        return response.whole()

    async def answer(self, request: web.Request) -> web.Response:
        """Return the list of a worker that has missed no change since the asked time, else the most complete list.

        A worker has heard nothing of the time before its start. While one does not answer, the next is asked, too.
        """
        heard, workers = self._heard(), self.supervisor.by_changes()
        asked = [partial(self._list_of, request, worker) for worker in workers]
        answer: Answer | None = (await staggered_race(asked, self.hurry))[0]
        if answer is None:
            raise NoWorker
        if answer.status != 200:
            return answer.response()
        if _NAME.fullmatch(name := request.query.get("nginx", "")):
            for worker in self.supervisor.ready():
                worker.nginx_asks(name)
        listed = json.loads(answer.body)
        question = _QUESTION.fullmatch(request.rel_url.raw_path_qs)
        asked_at = request.query.get("now", "")
        reach = (int(asked_at) if _NUMBER.fullmatch(asked_at) else listed["now"]) - int(request.query["since"])
        if listed["now"] - listed["complete_since"] < reach:
            return (await self._most_complete(request, workers, answer)).response()
        # A worker lists each change again, and tells the supervisor of it only once.
        is_repeatable = not listed["changes"] and reach >= LISTED_AGAIN_FOR
        if question is not None and is_repeatable and all(heard_at for _, heard_at in heard):
            if len(self._kept) >= _MOST_ASKERS:
                self._kept.clear()
            asker = request.headers.get(hdrs.HOST), question["nginx"]
            self._kept[asker] = _Kept(reach, time.monotonic(), heard, answer.body)
        return answer.response()

    async def _list_of(self, request: web.Request, worker: Worker) -> Answer:
        if (answer := await self.calls.repeat(request, worker)) is None:
            raise NoWorker
        return answer

    async def _most_complete(self, request: web.Request, workers: Sequence[Worker], answer: Answer) -> Answer:
        path = str(URL(CHANGES).with_query({name: request.query.get(name, "") for name in ("since", "now")}))
        answers = (await self.calls.get(workers, path, self.hurry)).values()
        lists = [found for found in answers if found is not None and found.status == 200]
        return max(lists, key=_known_for, default=answer)

    def _heard(self) -> Heard:
        return [(worker, worker.heard_at) for worker in self.supervisor.by_changes()]


def _known_for(answer: Answer) -> int:
    """Return for how many milliseconds before its list was made a worker has missed no change."""
    listed = json.loads(answer.body)
    return int(listed["now"] - listed["complete_since"])
