"""What an answer to the canary means. There is no I/O here."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from gateway.metrics.canary import PUBLIC, Check

_HIDDEN = frozenset({401, 404})  # of a private image, to a caller who may not see it
BASIC_TYPES = frozenset({"image/gif", "image/jpeg", "image/png"})  # which every browser takes


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


def judge(check: Check, known: Known, asked: Sequence[Seen], *, was_up: bool) -> Verdict:
    """Return what the answers to the steps of a question mean. ``was_up``: this check has succeeded before."""
    seen = asked[0]
    wanted = "public" if check == PUBLIC else "private"
    if known.row == "missing" and was_up:
        return Verdict(False, f"the row of the {wanted} image has gone: it was deleted, or row level security hides it")
    if known.row == "missing":
        return Verdict(None, f"the canary is wrong: the table has no row of the {wanted} image, or hides it")
    if known.row not in (wanted, "unknown"):
        return Verdict(None, f"the canary is wrong: the row of the {wanted} image is {known.row}")
    if (silent := next((answer for answer in asked if answer.status is None), None)) is not None:
        return Verdict(False, silent.problem)
    if check == "private_token":
        return _of_token(known, asked)
    if check != "private_anonymous":
        verdict = _of_image(known, seen)
        return _of_formats(asked) if verdict.is_up and len(asked) > 1 else verdict
    if seen.status is None or seen.status in _HIDDEN:
        return Verdict(True, f"{seen.status} for a caller without credentials")
    if seen.status < 400:
        return Verdict(False, f"{seen.status}: a caller without credentials gets a private image")
    return Verdict(False, f"{seen.status} instead of 401 or 404")


def _of_token(known: Known, asked: Sequence[Seen]) -> Verdict:
    """Judge a private image asked for without, with, and again without a token, by another name, and by the cookie."""
    before, with_token, after, by_another_name, *by_cookie = asked
    if any((answer.status or 0) < 400 for answer in (before, after)):
        return Verdict(False, "the front keeps a private answer by its address: a caller without credentials gets it")
    if with_token.status == 401 != before.status:
        return Verdict(None, "the canary is wrong: the gateway refuses the token of canary.token_file with 401")
    if with_token.status in _HIDDEN and by_another_name.status == 200:
        return Verdict(False, f"the front keeps a {before.status} and sends it to a user who may view the image")
    if with_token.status in _HIDDEN:
        what = "the front drops Authorization, or the user of canary.token_file may not view the image"
        return Verdict(False, f"{with_token.status} with the token: {what}")
    verdict = _of_image(known, with_token)
    if verdict.is_up and any(answer.status in _HIDDEN for answer in by_cookie):
        return Verdict(False, f"{by_cookie[0].status} with the token in the cookie: the front drops the cookie")
    return Verdict(True, f"{with_token.status} with the token, {after.status} without it") if verdict.is_up else verdict


def _of_formats(asked: Sequence[Seen]) -> Verdict:
    """Judge an address that negotiates, asked for by a browser that takes a format, and by one that does not."""
    _, taken, other = asked
    if other.status == 200 and other.content_type == taken.content_type and other.content_type not in BASIC_TYPES:
        what = f"a browser that does not take {other.content_type} gets it: the front ignores Vary"
        return Verdict(False, what)
    return Verdict(True, "200 with the image, and the format that each browser takes")


def judge_change(seen: Seen, seconds: float) -> Verdict:
    """Judge the last answer when the bytes of a change have not come within ``seconds``."""
    if seen.status is None:
        return Verdict(False, seen.problem)
    if seen.status != 200:
        return Verdict(False, f"{seen.status} instead of 200 after a change")
    age = "" if seen.age is None else f", a copy {seen.age} s old"
    causes = "the front ignores purges, or a gateway behind it does not hear of changes"
    return Verdict(False, f"other bytes than those of the changed row{age}, {seconds:.0f} s after the change: {causes}")


def is_about_a_missing_row(what: str) -> bool:
    """Return whether a verdict says that Postgres gives no row of the canary."""
    return "the table has no row" in what or "has gone: it was deleted" in what


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
