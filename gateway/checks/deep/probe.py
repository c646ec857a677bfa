"""A probe of a real bucket: expectation, answer, verdict."""

import enum
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from gateway.catalog.record import ImageRecord
from gateway.checks.deep.session import DeepSession, Reply
from gateway.presign.probe_signer import ProbeSigner


class Verdict(enum.StrEnum):
    """The meaning of an answer for the gateway."""

    OK = "ok"
    FAIL = "fail"
    WARN = "warn"
    RECORDED = "note"  # both answers are fine; which one it is, is worth knowing
    SKIPPED = "skip"


@dataclass(frozen=True, slots=True)
class Result:
    """A line of the report. It never contains a URL, a key or a signature."""

    number: int
    title: str
    expected: str
    got: str
    verdict: Verdict
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class Subject:
    """The subject of the probes. ``image`` is from a row. The keys are of objects in the bucket of ``image``.

    ``is_strict``: the configuration says that the bucket refuses unsigned parameters.
    """

    image: ImageRecord
    session: DeepSession
    signer: ProbeSigner
    styles: tuple[str, ...] = ()
    oversized: str | None = None
    not_image: str | None = None
    keys: tuple[str, ...] = ()
    timeout: float = 10.0
    is_strict: bool = False

    def of_key(self, key: str) -> ImageRecord:
        """Return the row as if it named another object of the bucket."""
        image = self.image
        return ImageRecord(image.image_id, None, image.public, image.bucket, image.region, key, None)


Probe = Callable[[Subject], AsyncIterator[Result]]


def judged(number: int, title: str, expected: str, reply: Reply, *, is_right: bool, note: str = "") -> Result:
    """Return the result for an answer that is right or a failure."""
    return Result(
        number, title, expected, said(reply) + note, Verdict.OK if is_right else Verdict.FAIL, reply.error.request_id
    )


def recorded(number: int, title: str, expected: str, reply: Reply, *, note: str = "") -> Result:
    """Return the result for an answer that is neither right nor wrong."""
    return Result(number, title, expected, said(reply) + note, Verdict.RECORDED, reply.error.request_id)


def skipped(number: int, title: str, why: str) -> Result:
    """Return the result of a probe that was not made."""
    return Result(number, title, "", why, Verdict.SKIPPED)


def said(reply: Reply) -> str:
    """Return status and code of an answer."""
    return f"{reply.status}" + (f" {reply.code}" if reply.code is not None else "")
