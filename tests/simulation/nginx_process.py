"""nginx: its cache, its decisions, and what changes.js does, on a machine that is reloaded and restarted."""

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from tests.simulation.gateway_process import Answer
from tests.simulation.loop import ExploringLoop, Process

PUBLIC_WITHOUT_ANSWER, PRIVATE_WITHOUT_ANSWER = 3_600_000, 2_000
PAUSE, LATER, CLOCKS, DOUBT, INCOMPLETE, YOUNG = 200, 1000, 5000, 450, 10_000, 300


class NoAnswer(Exception):
    """No gateway has answered nginx's question."""


class Machine:
    """What changes.js, epoch.js and decisions.js do. The dictionaries survive a reload.

    now: milliseconds of this machine's clock.
    """

    def __init__(self, now: Callable[[], int]) -> None:
        self.now = now
        self.values: dict[str, Any] = {}
        self.floors: dict[str, tuple[int, int]] = {}  # with the end
        self.epochs: dict[str, int] = {}
        self.gateways: dict[str, tuple[int, int]] = {}

    def floor(self, name: str) -> int | None:
        value, end = self.floors.get(name, (0, 0))
        return value if end > self.now() else None

    def epoch(self, image_id: str, kind: str) -> int | None:
        """Return the epoch of the image in the keys of copies. None: no copy is used or kept."""
        floor = self.floor(kind)
        if floor is None:
            return None
        changed = self.epochs.get(image_id)
        return None if changed is not None and abs(self.now() - changed) < YOUNG else changed or floor

    def _fresh(self) -> int:
        self.values["last"] = max(self.now(), self.values.get("last", 0) + 1)
        return int(self.values["last"])

    def stop(self) -> None:
        self.floors.clear()

    def raise_floor(self, _reason: str) -> None:
        self.stop()
        self.epochs.clear()
        self.values.pop("settings", None)
        self.values["floor"] = self._fresh()

    @property
    def is_in_trouble(self) -> bool:
        """Whether nginx says that it does not hear."""
        return "trouble" in self.values

    def question(self) -> "Question":
        heard = self.values.get("heard", 0)
        needed = max(heard - LATER, self.values.get("begun", 0)) or self.now()
        return Question(heard, needed, needed - LATER - CLOCKS, self.now())

    def take(self, asked: "Question", text: str) -> None:
        answer = json.loads(text)
        needed_there = asked.needed + answer["now"] - self.now()
        self._apply(answer, needed_there)
        heard = asked.heard
        if heard and answer["complete_since"] <= needed_there:
            self._is_heard(asked.sent)
        elif not heard or self.now() - heard > INCOMPLETE:
            self.raise_floor("gap" if heard else "start")
            self.values["begun"] = asked.sent
            self._is_heard(asked.sent)
        elif self.now() - heard > DOUBT:
            self.stop()
            self.values["trouble"] = "incomplete"

    def _apply(self, answer: dict[str, Any], after_there: int) -> None:
        known = self.gateways.get(answer["gateway"])
        if known is None or known[1] != answer["access"]:
            self.stop()
            self.values["access"] = self._fresh()
        if known is not None and known[0] <= answer["now"]:
            after_there = known[0] + 1
        everything = False
        for change in answer["changes"]:
            if change["at"] >= after_there:
                if change["image_id"] is None:
                    everything = True
                else:
                    self.epochs[change["image_id"]] = self._fresh()
        if everything:
            self.raise_floor("gap")
        settings, heard = answer["settings"], self.values.get("settings")
        differ = heard is not None and heard != settings
        if differ and known is None:
            self.raise_floor("settings")
        self.values["settings"] = "several" if differ and known is not None else settings
        self.gateways[answer["gateway"]] = answer["now"], answer["access"]

    def _is_heard(self, time: int) -> None:
        now = self.now()
        age, floor = now - time, self.values["floor"]
        self.values["heard"] = time
        self.floors["access"] = self.values.get("access", 0), now + PUBLIC_WITHOUT_ANSWER
        self.floors["public"] = floor, now + max(PUBLIC_WITHOUT_ANSWER - age, 1)
        self.floors["private"] = floor, now + max(PRIVATE_WITHOUT_ANSWER - age, 1)
        self.values.pop("trouble", None)

    def failed(self, reason: str) -> None:
        """Note that no gateway has answered."""
        self.values["trouble"] = reason


class Question(NamedTuple):
    heard: int
    needed: int
    since: int
    sent: int


class Copy(NamedTuple):
    """A copy in nginx's cache or among its decisions, with its end."""

    answer: Answer
    until: float


class Nginx:
    """An nginx in front of gateways.

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
        self.machine = Machine(self._milliseconds)
        self.worker = self._start_worker()

    @property
    def workers(self) -> list[Process]:
        """All workers, those of earlier configurations first."""
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
        for worker in self.workers:
            worker.kill()
        self._old_workers.clear()
        self.machine = Machine(self._milliseconds)
        if self.keeps_decisions:
            self._copies.clear()
        self.worker = self._start_worker()

    # ---- changes.js

    async def _ask_for_changes(self) -> None:
        loop = self._loop
        while True:
            machine, next_at = self.machine, loop.time() + PAUSE / 1000
            question = machine.question()
            try:
                machine.take(question, await self._list(question))
            except NoAnswer as error:
                machine.failed(str(error))
            await asyncio.sleep(max(next_at - loop.time(), 0.001))

    async def _list(self, question: Question) -> str:
        for gateway in self._in_turn():
            try:
                async with asyncio.timeout(0.5):
                    return str(await gateway.list(question.since))
            except (NoAnswer, TimeoutError):
                continue
        raise NoAnswer

    def _in_turn(self) -> list["Upstream"]:
        self._turn += 1
        first = self._turn % len(self._gateways)
        return [*self._gateways[first:], *self._gateways[:first]]

    # ---- requests

    async def answer(self, image_id: str) -> tuple[Answer, bool]:
        """Return the answer to a request for an image, and whether it is a copy."""
        kind = "private" if self.keeps_decisions else "public"
        epoch = self.machine.epoch(image_id, kind)
        key = (epoch, self.machine.floor("access") if self.keeps_decisions else None, image_id)
        if epoch is not None:
            copy = self._copies.get(key)
            if copy is not None and copy.until > self._now():
                return copy.answer, True
        answer = await self._pass_on(image_id)
        if epoch is not None and answer.status == 200 and (answer.is_public or self.keeps_decisions):
            life = 3600.0 if not self.keeps_decisions else 60.0 if answer.is_public else 10.0
            self._copies[key] = Copy(answer, self._now() + life)
        return answer, False

    async def _pass_on(self, image_id: str) -> Answer:
        for gateway in self._in_turn()[:2]:
            try:
                async with asyncio.timeout(45):
                    answer: Answer = await gateway.ask(image_id)
                    return answer
            except NoAnswer:
                continue
            except TimeoutError:
                break
        return Answer(503)

    def uses_copies(self, image_id: str) -> bool:
        """Return whether a copy of the image may be used now."""
        return self.machine.epoch(image_id, "private" if self.keeps_decisions else "public") is not None


class Upstream(Protocol):
    """A gateway as nginx reaches it."""

    async def ask(self, image_id: str) -> Answer:
        """Ask for an image. Raises ``NoAnswer`` if no process accepts the connection."""

    async def list(self, since: int) -> str:
        """Ask for the list of changes. Raises ``NoAnswer`` if no process accepts the connection."""
