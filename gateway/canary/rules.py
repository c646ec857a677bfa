"""What an answer to the canary means. There is no I/O here."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

from gateway.metrics.canary import PUBLIC, Check

_HIDDEN = frozenset({401, 404})  # of a private image, to a caller who may not see it


@dataclass(frozen=True, slots=True)
class Known:
    """What the gateway knows of an image that the canary requests, to judge a front's (proxy's, CDN's) answer by.

    row: ``missing`` if the table has no such row, ``not served`` by its status, ``unknown`` while Postgres fails.
    length, etag: of the bytes that the canary asks for. None if not known.
    """

    row: Literal["public", "private", "missing", "not served", "unknown"]
    length: int | None = None
    etag: str | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """The answer of a front (a proxy or CDN) to the canary.

    status: None if there is no answer; ``problem`` says why.
    length: bytes of the whole body. None if the body was not read to its end.
    age: seconds by the field ``Age``. None without it: nginx sends none.
    """

    status: int | None
    problem: str = ""
    seconds: float | None = None
    length: int | None = None
    etag: str | None = None
    content_type: str | None = None
    age: int | None = None


class Verdict(NamedTuple):
    """The canary's judgement of an answer of a front (proxy, CDN), and why. ``is_up``: None if the image is unfit."""

    is_up: bool | None
    what: str


def judge(check: Check, known: Known, seen: Seen, *, was_up: bool) -> Verdict:
    """Return what the answer means. ``was_up``: this check has succeeded before with this image."""
    wanted = "public" if check == PUBLIC else "private"
    if known.row == "missing" and was_up:
        return Verdict(False, f"the row of the {wanted} image has gone: it was deleted, or row level security hides it")
    if known.row == "missing":
        return Verdict(None, f"the canary is wrong: the table has no row of the {wanted} image, or hides it")
    if known.row not in (wanted, "unknown"):
        return Verdict(None, f"the canary is wrong: the row of the {wanted} image is {known.row}")
    if seen.status is None:
        return Verdict(False, seen.problem)
    if check != "private_anonymous":
        return _of_image(known, seen)
    if seen.status in _HIDDEN:
        return Verdict(True, f"{seen.status} for a caller without credentials")
    if seen.status < 400:
        return Verdict(False, f"{seen.status}: a caller without credentials gets a private image")
    return Verdict(False, f"{seen.status} instead of 401 or 404")


def _of_image(known: Known, seen: Seen) -> Verdict:
    copy = "" if seen.age is None else f", a copy {seen.age} s old"
    if seen.status != 200:
        return Verdict(False, f"{seen.status} instead of 200")
    if seen.problem:
        return Verdict(False, f"200, then {seen.problem}")
    if not (seen.content_type or "").startswith("image/"):
        return Verdict(False, f"200 with {seen.content_type or 'no type'} instead of an image")
    if None not in (known.length, seen.length) and known.length != seen.length:
        return Verdict(False, f"200 with {seen.length} bytes{copy}; the gateway knows {known.length} bytes")
    if known.etag is not None and (seen.etag or "").removeprefix("W/") != known.etag:
        return Verdict(False, f"200 with another entity tag{copy} than the gateway knows")
    return Verdict(True, f"200 with the image{copy}")
