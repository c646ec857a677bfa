"""Questions of a command to every replica, through Redis: the replicas' admin ports may not be reachable from there."""

import json
import re
import secrets
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Final

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError

from gateway.catalog.image_id import PATTERN
from gateway.net.printable import printable
from gateway.redis_connection.shards import Shards
from gateway.redis_replicas.invalidation_channel import InvalidationChannel

_LIFE: Final = 30  # seconds that answers are kept
_MOST_ANSWERS: Final = 1000
_NO_IMAGE: Final = "-"
_QUESTION: Final = re.compile(rf"([0-9a-f]{{32}}) ({PATTERN}|{_NO_IMAGE})")

Text = Annotated[str, Field(max_length=300), AfterValidator(printable)]
Seconds = Annotated[float, Field(ge=0, le=10**9)]


@dataclass(frozen=True, slots=True)
class Question:
    """A command's question to every replica. ``image_id``: None if about no image. ``nonce`` names the answers."""

    nonce: str
    image_id: str | None

    @staticmethod
    def decode(text: str) -> "Question | None":
        """Return the question in a message, or None if the text is none."""
        found = _QUESTION.fullmatch(text)
        return Question(found[1], None if found[2] == _NO_IMAGE else found[2]) if found is not None else None

    def encode(self) -> str:
        return f"{self.nonce} {self.image_id or _NO_IMAGE}"


@dataclass(frozen=True, slots=True)
class ReplicaAnswer:
    """A replica's answer to a command: what the process says of itself.

    program: the folder of its interpreter.
    settings: a fingerprint of the settings in use without secrets and ports, and how many keys need a restart.
    changes: ``ok``, or why it does not hear of changes.
    nginx: how long ago each nginx asked it for changes, in seconds.
    last_error: the code of its last error, with the time. Empty without one.
    holds: whether its memory has a URL, of any age, of the image that the question is about.
    """

    name: Text
    version: Text
    program: Text
    settings: Text
    entry_key: Text
    changes: Text
    nginx: Annotated[dict[Text, Seconds], Field(max_length=100)]
    last_error: Text
    holds: bool = False

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


ANSWER: Final = TypeAdapter(ReplicaAnswer)


class ReplicaQuestions:
    """Asks every replica through Redis, and answers such questions. The methods raise ``CacheUnavailable``."""

    def __init__(self, shards: Shards, channel: InvalidationChannel) -> None:
        self._shards = shards
        self._place = shards.first
        self._channel = channel

    async def ask(self, image_id: str | None = None) -> Question:
        """Ask every replica that listens. Replicas of earlier releases do not answer."""
        question = Question(secrets.token_hex(16), image_id)
        await self._channel.ask(question.encode())
        return question

    async def answer(self, question: Question, answer: ReplicaAnswer) -> None:
        """Add the answer of this replica."""
        key = self._key(question)
        added = ("RPUSH", key, json.dumps(answer.as_json()))
        await self._shards.run_on(self._place, added, ("LTRIM", key, 0, _MOST_ANSWERS - 1), ("EXPIRE", key, _LIFE))

    async def answers(self, question: Question) -> list[ReplicaAnswer]:
        """Return the answers so far, by name."""
        [members] = await self._shards.run_on(self._place, ("LRANGE", self._key(question), 0, _MOST_ANSWERS - 1))
        found: dict[str, ReplicaAnswer] = {}
        for member in members:
            with suppress(ValidationError):  # that of another version
                answer = ANSWER.validate_json(member)
                found[answer.name] = answer
        return [found[name] for name in sorted(found)]

    def _key(self, question: Question) -> str:
        return self._place.key("answers", question.nonce)
