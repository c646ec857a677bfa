"""A result of a probe of ``check --deep``: expectation, answer, verdict."""

import enum
from dataclasses import dataclass

from gateway.checks.deep_session import Reply


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

    title: str
    expected: str
    got: str
    verdict: Verdict
    request_id: str | None = None

    def as_line(self, number: int) -> str:
        """Return the line of the report. ``number``: of the probe."""
        start = f"{self.verdict.value:5} {number:2} {self.title}: "
        if self.verdict is Verdict.SKIPPED:
            return start + self.got
        request = f" (request {self.request_id})" if self.request_id is not None else ""
        return f"{start}expected {self.expected}; got {self.got}{request}"


def judged(title: str, expected: str, reply: Reply, *, is_right: bool, note: str = "") -> Result:
    """Return the result for an answer that is right or a failure."""
    verdict = Verdict.OK if is_right else Verdict.FAIL
    return Result(title, expected, said(reply) + note, verdict, reply.error.request_id)


def of_status(title: str, reply: Reply, *right: int, note: str = "") -> Result:
    """Return the result for an answer that is a failure with another status than the ``right`` ones."""
    return judged(title, " or ".join(map(str, right)), reply, is_right=reply.status in right, note=note)


def recorded(title: str, reply: Reply, *, expected: str = "recorded", note: str = "") -> Result:
    """Return the result for an answer that is neither right nor wrong."""
    return Result(title, expected, said(reply) + note, Verdict.RECORDED, reply.error.request_id)


def skipped(title: str, why: str) -> Result:
    """Return the result of a probe that was not made."""
    return Result(title, "", why, Verdict.SKIPPED)


def said(reply: Reply) -> str:
    """Return status and code of an answer."""
    return f"{reply.status}" + (f" {reply.code}" if reply.code is not None else "")
