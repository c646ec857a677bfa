"""The rounds of the canary, which all gateways with the same canary share."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Annotated, Final

from pydantic import Field, TypeAdapter, ValidationError

from gateway.metrics.canary import CanaryOutcome, Check
from gateway.net.printable import printable
from gateway.redis_connection.shards import Shards
from gateway.settings import CanarySettings

_REMEMBERED: Final = 7 * 24 * 3600  # seconds without a round after which nothing is known of earlier rounds
_MOST_OUTCOMES: Final = 60


@dataclass(frozen=True, slots=True)
class _Round:
    outcomes: Annotated[tuple[CanaryOutcome, ...], Field(max_length=_MOST_OUTCOMES)]
    proven: frozenset[Check]


_ROUND: Final = TypeAdapter(_Round)


class CanaryRounds:
    """Shares the canary's rounds through Redis: whose turn it is, and the last result. Raises ``CacheUnavailable``.

    part: of the canary, each of which has turns of its own.
    """

    def __init__(self, shards: Shards, settings: CanarySettings, part: str = "answers") -> None:
        self._shards = shards
        self._via = settings.via
        self._place = shards.first
        named = json.dumps([part, settings.model_dump(mode="json")])
        name = hashlib.sha256(named.encode()).hexdigest()[:16]
        self._turn, self._round = self._place.key("canary", name, "turn"), self._place.key("canary", name, "round")

    async def claim(self, seconds: float) -> bool:
        """Return whether it is this gateway's turn for the next ``seconds``."""
        command = ("SET", self._turn, "1", "NX", "PX", max(1, int(seconds * 1000)))
        [taken] = await self._shards.run_on(self._place, command)
        return taken is not None

    async def keep(self, seconds: float) -> None:
        """Keep the turn of this gateway for the next ``seconds``."""
        await self._shards.run_on(self._place, ("SET", self._turn, "1", "PX", int(seconds * 1000)))

    async def publish(self, outcomes: Sequence[CanaryOutcome], proven: frozenset[Check]) -> None:
        """Replace the round that other gateways read."""
        text = json.dumps({"outcomes": [asdict(outcome) for outcome in outcomes], "proven": sorted(proven)})
        await self._shards.run_on(self._place, ("SET", self._round, text, "EX", _REMEMBERED))

    async def read(self) -> tuple[Sequence[CanaryOutcome], frozenset[Check]]:
        """Return the last round, and the checks that have succeeded before. Empty without a round."""
        [text] = await self._shards.run_on(self._place, ("GET", self._round))
        try:
            found = _ROUND.validate_json(text or b"")
        except ValidationError:  # none, or that of another version
            return (), frozenset()
        own = [outcome for outcome in found.outcomes if outcome.via in self._via]
        return [replace(outcome, what=printable(outcome.what)) for outcome in own], found.proven
