"""nginx: its cache, its decisions, and its question for changes, on a machine that is reloaded and restarted."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

from tests.simulation.fronts import Copy
from tests.simulation.gateway_process import Answer
from tests.simulation.loop import ExploringLoop, Process
from tests.simulation.nginx_scripts import Scripts

_PAUSE: Final = 0.2  # seconds between the starts of two questions (changes.js)
_TIMEOUT: Final = 0.5  # seconds that a gateway has for its list (changes.conf)
_READ_TIMEOUT: Final = 45.0  # seconds (proxy_read_timeout)
NAME: Final = "nginx"


class NoAnswer(Exception):
    """No process accepts the connection, or it dies before it answers."""


class Refused(Exception):
    """A gateway answers nginx's question with an error."""


class Nginx:
    """An nginx in front of gateways: a worker that asks for changes, and another that serves.

    keeps_decisions: it keeps decisions and orders for all images (accel.conf), else public copies
        (gateway-cache.conf).
    ask: asks a gateway for an image, fetch: asks one for its list; both raise ``NoAnswer`` or ``TimeoutError``.
    """

    def __init__(
        self,
        loop: ExploringLoop,
        name: str,
        wall: Callable[[], float],
        now: Callable[[], float],
        gateways: Sequence["Upstream"],
        *,
        keeps_decisions: bool,
    ) -> None:
        self.name = name
        self.keeps_decisions = keeps_decisions
        self._loop = loop
        self._now = now
        self._gateways = gateways
        self._turn = 0
        self._copies: dict[tuple[str, str], Copy] = {}  # by epoch and image
        self._answers: list[Answer] = []  # those of which decisions may be kept
        self._old_workers: list[Process] = []
        self._scripts = Scripts(wall, loop.time)
        self._doubt_since: float | None = None
        self._heard = 0
        self.trouble = ""
        self.silent_until = 0.0
        self.worker = self._start_worker()
        self.server = Process(loop, name)

    @property
    def workers(self) -> list[Process]:
        """All workers that ask for changes, those of earlier configurations first."""
        return [*self._old_workers, self.worker]

    def _start_worker(self) -> Process:
        worker = Process(self._loop, self.name)
        worker.start(self._ask_for_changes(), "changes.js")
        return worker

    def reload(self) -> None:
        """Start a new worker. The old one goes on asking, too, until it is told to end."""
        self._old_workers.append(self.worker)
        self.worker = self._start_worker()

    def end_old_workers(self) -> None:
        """End what earlier configurations have left."""
        for worker in self._old_workers:
            worker.kill()
        self._old_workers.clear()

    def restart(self) -> None:
        """Lose all that is in memory. The copies on the disk remain."""
        for worker in (*self.workers, self.server):
            worker.kill()
        self._old_workers.clear()
        self._scripts.forget_all()
        self._heard, self._doubt_since = 0, None
        self.worker = self._start_worker()
        self.server = Process(self._loop, self.name)

    # ---- changes.js

    async def _ask_for_changes(self) -> None:
        loop = self._loop
        while True:
            next_at = loop.time() + _PAUSE
            question = self._happen({"kind": "ask"})
            while question is not None:
                question = self._happen({**await self._outcome_of(question), "question": question})
            await asyncio.sleep(max(next_at - loop.time(), 0.001))

    async def _outcome_of(self, question: Mapping[str, Any]) -> Mapping[str, Any]:
        for gateway in self._in_turn():
            try:
                async with asyncio.timeout(_TIMEOUT):
                    text = await gateway.list(question["since"], None if question["page"] else question["now"])
            except (NoAnswer, TimeoutError):
                continue
            except Refused as error:
                return {"kind": "refused", "text": str(error)}
            return {"kind": "answer", "text": text}
        return {"kind": "silent"}

    def _happen(self, event: Mapping[str, Any]) -> Mapping[str, Any] | None:
        before, outcome = self._heard, self._scripts.happen(event)
        self._heard, self.trouble = outcome.heard, outcome.trouble
        if event["kind"] == "silent":
            self.silent_until = self._loop.time()
        if event["kind"] == "silent" or self._heard not in (0, before):
            self._doubt_since = None
        elif event["kind"] != "ask" and self._doubt_since is None:
            self._doubt_since = self._loop.time()
        return outcome.question

    @property
    def in_doubt_for(self) -> float:
        """The seconds since gateways answer, but not completely."""
        return self._loop.time() - self._doubt_since if self._doubt_since is not None else 0.0

    @property
    def hears_nobody(self) -> bool:
        """Whether nginx says that no gateway answers."""
        return self.trouble == "no gateway answers"

    def _in_turn(self) -> list["Upstream"]:
        self._turn += 1
        first = self._turn % len(self._gateways)
        return [*self._gateways[first:], *self._gateways[:first]]

    # ---- requests

    async def answer(self, image_id: str, viewer: str) -> tuple[Answer, bool]:
        """Return the answer to a request for an image, and whether it is a copy."""
        if self.keeps_decisions:
            return await self._decided(image_id, viewer)
        epoch = self._scripts.epoch(image_id)
        if epoch == "off" or viewer:  # credentials
            return await self._pass_on(image_id, viewer), False
        copy = self._copies.get((epoch, image_id))
        if copy is not None and copy.until > self._now():
            return copy.answer._replace(viewer=viewer), True
        answer = await self._pass_on(image_id, viewer)
        if answer.is_for_nginx and (lasts := answer.kept_for(is_shared=True)):
            self._copies[epoch, image_id] = Copy(answer, self._now(), self._now() + lasts)
        return answer, False

    async def _decided(self, image_id: str, viewer: str) -> tuple[Answer, bool]:
        keys, kept = self._scripts.kept(image_id, viewer)
        if kept:
            return self._answers[int(kept)]._replace(viewer=viewer), True
        answer = await self._pass_on(image_id, viewer)
        if answer.status == 200:
            self._answers.append(answer)
            self._scripts.keep(keys, str(len(self._answers) - 1), answer.decision_for, answer.cache_control)
        return answer, False

    async def _pass_on(self, image_id: str, viewer: str) -> Answer:
        for gateway in self._in_turn()[:2]:
            try:
                async with asyncio.timeout(_READ_TIMEOUT):
                    answer: Answer = await gateway.ask(image_id, viewer, NAME)
                    return answer
            except NoAnswer:
                continue
            except TimeoutError:
                break
        return Answer(503, viewer)

    def uses_copies(self, image_id: str) -> bool:
        """Return whether a copy of the image may be used now."""
        return (
            bool(self._scripts.kept(image_id, "")[0])
            if self.keeps_decisions
            else self._scripts.epoch(image_id) != "off"
        )


class Upstream(Protocol):
    """A gateway as nginx reaches it."""

    async def ask(self, image_id: str, viewer: str, client: str) -> Answer:
        """Ask for an image. Raises ``NoAnswer`` if no process accepts the connection."""

    async def list(self, since: int, now: int | None) -> str:
        """Ask for the list of changes, at ``now`` by nginx's clock. Raises ``NoAnswer``."""
