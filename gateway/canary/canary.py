"""The canary: asks for its images through each front, shares the rounds with other gateways, and keeps the outcomes."""

import asyncio
import itertools
import logging
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, NamedTuple

from prometheus_client import Counter

from gateway.canary.client import FrontClient
from gateway.canary.rules import Known, judge
from gateway.metrics.canary import CanaryOutcome, CanaryOutcomes, Check
from gateway.redis_connection.guarded_client import CacheUnavailable
from gateway.redis_replicas.canary_rounds import CanaryRounds

logger = logging.getLogger(__name__)

# Asks each front, given the checks that have succeeded before.
Ask = Callable[[frozenset[Check]], Awaitable[Sequence[CanaryOutcome]]]
_JITTER: Final = 0.1  # of the interval


class Step(NamedTuple):
    """A request of a question. ``address``: the path and the query, which may contain the signature of a link."""

    address: str
    headers: Mapping[str, str] = MappingProxyType({})


class Question(NamedTuple):
    """Requests that the canary sends to each front (a proxy or CDN in front of the gateways), one after the other.

    origin: where a redirect may lead. None: nowhere.
    problem: why they cannot be sent.
    """

    check: Check
    steps: Sequence[Step]
    known: Known
    origin: str | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class AnswersOfFronts:
    """Asks each front the questions of users, and judges the answers."""

    via: Sequence[str]
    questions: Callable[[], Awaitable[Sequence[Question]]]
    client: FrontClient

    async def ask(self, proven: frozenset[Check]) -> list[CanaryOutcome]:
        """Ask every front every question once, and return the outcomes. ``proven``: checks that succeeded before."""
        pairs = itertools.product(self.via, await self.questions(), (proven,))
        return list(await asyncio.gather(*itertools.starmap(self._ask, pairs)))

    async def _ask(self, via: str, question: Question, proven: frozenset[Check]) -> CanaryOutcome:
        if question.problem:
            return CanaryOutcome(via, question.check, None, question.problem)
        asked = [
            await self.client.ask(via + address, headers=headers, origin=question.origin)
            for address, headers in question.steps
        ]
        verdict = judge(question.check, question.known, asked, was_up=question.check in proven)
        return CanaryOutcome(via, question.check, *verdict, asked[0].seconds)


@dataclass(slots=True)
class Canary:
    """Asks fronts in turn with other gateways, and keeps and shares the outcomes.

    part: the name of what it asks for. every: seconds between two rounds.
    rounds: None without Redis. Then, and while Redis is down, each gateway asks for itself.
    asks_alone: whether this process is the one of its gateway that does so.
    pause: seconds after which a check that begins to fail is asked again, so that a blip is not shown until the next
        round. None: the first outcome counts.
    """

    part: str
    every: float
    ask: Ask
    rounds: CanaryRounds | None
    outcomes: CanaryOutcomes
    background_errors: Counter
    asks_alone: bool = True
    pause: float | None = None
    _proven: frozenset[Check] = field(default=frozenset(), init=False)  # checks that have succeeded before

    async def run(self) -> None:
        """Ask until cancelled. The first round comes after an interval: the gateway serves by then."""
        errors = self.background_errors.labels(task="canary")
        while True:
            await asyncio.sleep(self.every * random.uniform(1 - _JITTER, 1 + _JITTER))  # noqa: S311 - no secret
            try:
                await self.once()
            except Exception:  # otherwise the light would stay as it is
                errors.inc()
                logger.exception("the canary failed")

    async def once(self) -> None:
        """Ask if it is this gateway's turn, else read what another gateway has seen."""
        is_own_turn = self.asks_alone
        if self.rounds is not None:
            try:
                is_own_turn = await self.rounds.claim(self._turn)
                outcomes, proven = await self.rounds.read()
                self._proven |= proven
                if not is_own_turn and outcomes:
                    self._note(outcomes)
            except CacheUnavailable:
                if not (is_own_turn := self.asks_alone):
                    self.outcomes.put(self.part, ())  # another worker knows
        if not is_own_turn:
            return
        outcomes = await self._confirmed(await self.ask(self._proven))
        self._proven |= {outcome.check for outcome in outcomes if outcome.is_up}
        self._note(outcomes)
        if self.rounds is not None:
            with suppress(CacheUnavailable):
                await self.rounds.publish(outcomes, self._proven)

    @property
    def _turn(self) -> float:
        return self.every * (1 - 2 * _JITTER)

    async def _confirmed(self, outcomes: Sequence[CanaryOutcome]) -> Sequence[CanaryOutcome]:
        """Return the outcomes, or if a check begins to fail those of the same questions after a pause."""
        failing = {(outcome.via, outcome.check) for outcome in self.outcomes.of(self.part) if outcome.is_up is False}
        found = (each for each in outcomes if each.is_up is False and (each.via, each.check) not in failing)
        if self.pause is None or (fault := next(found, None)) is None:
            return outcomes
        logger.warning("canary: asking again: via=%s check=%s: %s", fault.via, fault.check, fault.what)
        if self.rounds is not None:
            with suppress(CacheUnavailable):
                await self.rounds.keep(self.pause + self._turn)
        await asyncio.sleep(self.pause)
        return await self.ask(self._proven)

    def _note(self, outcomes: Sequence[CanaryOutcome]) -> None:
        """Keep the outcomes, and log each change."""
        before = {(outcome.via, outcome.check): outcome.is_up for outcome in self.outcomes.of(self.part)}
        self.outcomes.put(self.part, tuple(outcomes))
        for outcome in outcomes:
            if before.get((outcome.via, outcome.check), True) is not outcome.is_up:
                level = logging.INFO if outcome.is_up else logging.WARNING
                logger.log(level, "canary: via=%s check=%s: %s", outcome.via, outcome.check, outcome.what)
