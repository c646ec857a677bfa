"""The list of changes for nginx: that of a worker which has missed no change since the asked time."""

import json
import re
from asyncio.staggered import staggered_race
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from aiohttp import web
from yarl import URL

from gateway.errors import NoWorker
from gateway.metrics.nginx_last_asked import asking_nginx
from gateway.workers.supervisor import Supervisor
from gateway.workers.worker import Worker
from gateway.workers.worker_calls import Answer, WorkerCalls

CHANGES: Final = "/api/v1/changes"
HURRY: Final = 0.2  # seconds; without a list of changes within half a second nginx asks another gateway
_NUMBER: Final = re.compile(r"[0-9]{1,15}")


@dataclass(frozen=True, slots=True)
class ListForNginx:
    """Answers nginx's question for changed images, which each nginx asks five times a second.

    ``hurry``: the seconds after which another worker is asked, too.
    """

    supervisor: Supervisor
    calls: WorkerCalls
    hurry: float

    async def answer(self, request: web.Request) -> web.Response:
        """Return the list of a worker that has missed no change since the asked time, else the most complete list.

        A worker has heard nothing of the time before its start. While one does not answer, the next is asked, too.
        """
        workers = self.supervisor.by_changes()
        asked = [partial(self._list_of, request, worker) for worker in workers]
        answer: Answer | None = (await staggered_race(asked, self.hurry))[0]
        if answer is None:
            raise NoWorker
        if answer.status != 200:
            return answer.response()
        if (name := asking_nginx(request.query, request.headers)) is not None:
            for worker in self.supervisor.ready():
                worker.nginx_asks(name)
        listed = json.loads(answer.body)
        asked_at = request.query.get("now", "")
        reach = (int(asked_at) if _NUMBER.fullmatch(asked_at) else listed["now"]) - int(request.query["since"])
        if listed["now"] - listed["complete_since"] < reach:
            return (await self._most_complete(request, workers, answer)).response()
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


def _known_for(answer: Answer) -> int:
    """Return for how many milliseconds before its list was made a worker has missed no change."""
    listed = json.loads(answer.body)
    return int(listed["now"] - listed["complete_since"])
