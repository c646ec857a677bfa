"""nginx: its cache, its decisions, and its question for changes, on a machine that is reloaded and restarted."""

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, Protocol

from tests.simulation.gateway_process import Answer
from tests.simulation.loop import ExploringLoop, Process
from tests.simulation.nginx_machine import Event, Question, State, epoch, hear

_PAUSE: Final = 0.2  # seconds between the starts of two questions (changes.js)
_TIMEOUT: Final = 0.5  # seconds that a gateway has for its list (changes.conf)
_READ_TIMEOUT: Final = 45.0  # seconds (proxy_read_timeout)
_PUBLIC_LIFE, _DECISION_LIFE, _ORDER_LIFE = 3600.0, 10.0, 60.0  # seconds that a copy is kept


class NoAnswer(Exception):
    """No process accepts the connection, or it dies before it answers."""


class Refused(Exception):
    """A gateway answers nginx's question with an error."""


class Copy(NamedTuple):
    """A copy in nginx's cache or among its decisions, with its end."""

    answer: Answer
    until: float


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
        self._wall = wall
        self._now = now
        self._gateways = gateways
        self._turn = 0
        self._copies: dict[tuple[Any, ...], Copy] = {}
        self._old_workers: list[Process] = []
        self._forget_all()
        self.worker = self._start_worker()
        self.server = Process(loop, name)

    def _forget_all(self) -> None:
        self._state = State()
        self._last = 0
        self._doubt_since: float | None = None
        self._epochs: dict[str, int] = {}
        self._floors: dict[str, tuple[int, float]] = {}  # each with its end, as in a shared dictionary

    @property
    def workers(self) -> list[Process]:
        """All workers that ask for changes, those of earlier configurations first."""
        return [*self._old_workers, self.worker]

    def _milliseconds(self) -> int:
        return int(self._wall() * 1000)

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
        self._forget_all()
        if self.keeps_decisions:
            self._copies.clear()
        self.worker = self._start_worker()
        self.server = Process(self._loop, self.name)

    # ---- changes.js

    async def _ask_for_changes(self) -> None:
        loop = self._loop
        while True:
            next_at = loop.time() + _PAUSE
            question = self._hear(Event("ask", self._milliseconds(), self._fresh()))
            while question is not None:
                event = await self._ask(question)
                question = self._hear(event)
            await asyncio.sleep(max(next_at - loop.time(), 0.001))

    async def _ask(self, question: Question) -> Event:
        for gateway in self._in_turn():
            try:
                async with asyncio.timeout(_TIMEOUT):
                    text = await gateway.list(question.since, question.now if question.page == 0 else None)
            except (NoAnswer, TimeoutError):
                continue
            except Refused as error:
                return Event("refused", self._milliseconds(), self._fresh(), question, text=str(error))
            return Event("answer", self._milliseconds(), self._fresh(), question, json.loads(text))
        return Event("silent", self._milliseconds(), self._fresh(), question)

    def _fresh(self) -> int:
        """Return a number that is greater than every earlier number, even if the clock was set back."""
        self._last = max(self._milliseconds(), self._last + 1)
        return self._last

    def _hear(self, event: Event) -> Question | None:
        heard = self._state.heard
        self._state, orders = hear(self._state, event)
        if event.kind == "silent" or self._state.heard not in (0, heard):
            self._doubt_since = None
        elif event.kind != "ask" and self._doubt_since is None:
            self._doubt_since = self._loop.time()
        if orders.clear:
            self._epochs.clear()
        self._epochs.update(dict.fromkeys(orders.forget, event.number))
        floors, now = orders.floors, self._loop.time()
        values = {
            "public": (floors.floor, floors.public),
            "private": (floors.floor, floors.private),
            "access": (floors.access, floors.public),
        }
        self._floors = {name: (value, now + lasts / 1000) for name, (value, lasts) in values.items() if lasts}
        return orders.question

    @property
    def in_doubt_for(self) -> float:
        """The seconds since gateways answer, but not completely."""
        return self._loop.time() - self._doubt_since if self._doubt_since is not None else 0.0

    @property
    def hears_nobody(self) -> bool:
        """Whether nginx says that no gateway answers."""
        return self._state.trouble == "no gateway answers"

    def _floor(self, name: str) -> int | None:
        """Return the floor while it lasts. In nginx it lasts longer if the clock is set back while nobody asks."""
        value, end = self._floors.get(name, (0, 0.0))
        return value if end > self._loop.time() else None

    def _epoch(self, image_id: str) -> int | None:
        floor = self._floor("private" if self.keeps_decisions else "public")
        return epoch(floor, self._epochs.get(image_id), self._milliseconds())

    def _in_turn(self) -> list["Upstream"]:
        self._turn += 1
        first = self._turn % len(self._gateways)
        return [*self._gateways[first:], *self._gateways[:first]]

    # ---- requests

    async def answer(self, image_id: str) -> tuple[Answer, bool]:
        """Return the answer to a request for an image, and whether it is a copy."""
        known = self._epoch(image_id)
        key = (known, self._floor("access") if self.keeps_decisions else None, image_id)
        if known is not None:
            copy = self._copies.get(key)
            if copy is not None and copy.until > self._now():
                return copy.answer, True
        answer = await self._pass_on(image_id)
        is_kept = answer.status == 200 and not answer.is_unread and (answer.is_public or self.keeps_decisions)
        if known is not None and is_kept:
            life = _PUBLIC_LIFE if not self.keeps_decisions else _ORDER_LIFE if answer.is_public else _DECISION_LIFE
            self._copies[key] = Copy(answer, self._now() + life)
        return answer, False

    async def _pass_on(self, image_id: str) -> Answer:
        for gateway in self._in_turn()[:2]:
            try:
                async with asyncio.timeout(_READ_TIMEOUT):
                    answer: Answer = await gateway.ask(image_id)
                    return answer
            except NoAnswer:
                continue
            except TimeoutError:
                break
        return Answer(503)

    def uses_copies(self, image_id: str) -> bool:
        """Return whether a copy of the image may be used now."""
        return self._epoch(image_id) is not None


class Upstream(Protocol):
    """A gateway as nginx reaches it."""

    async def ask(self, image_id: str) -> Answer:
        """Ask for an image. Raises ``NoAnswer`` if no process accepts the connection."""

    async def list(self, since: int, now: int | None) -> str:
        """Ask for the list of changes, at ``now`` by nginx's clock. Raises ``NoAnswer``."""
