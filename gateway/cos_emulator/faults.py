"""Fault models: the actions that change an answer, and the requests that each applies to.

Alterations change the answer before it is sent, and all that fire apply in turn. Deliveries decide how the answer
goes out on the wire; the first that fires applies. So ``Gzip`` and ``Cut`` together cut a gzipped body.

In JSON (``POST /.emulator/faults``) a fault is ``{"action": {"kind": "cut", "at": 1000}, "key": "*.png", "times": 1}``
and bytes are base64, in either alphabet.
"""

from collections.abc import Callable
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, NonNegativeInt, PositiveInt


class _Model(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", ser_json_bytes="base64", val_json_bytes="base64", hide_input_in_errors=True
    )


class Refuse(_Model):
    """Answer with an error of COS's instead; HEAD gets it without a body."""

    kind: Literal["refuse"] = "refuse"
    status: int = Field(503, ge=400, le=599)
    code: str = "SlowDown"
    message: str = "Please reduce your request rate."
    headers: dict[str, str] = {}
    """Sent besides, such as Retry-After."""


class Html(_Model):
    """A page with status 200, as a captive portal or a broken proxy answers."""

    kind: Literal["html"] = "html"
    body: str = "<!doctype html><title>Sign in</title><p>Sign in to use this network.</p>"


class Redirect(_Model):
    """Point elsewhere, as a bucket with an origin-pull rule does (doc 7753)."""

    kind: Literal["redirect"] = "redirect"
    location: str
    status: Literal[301, 302, 303, 307, 308] = 302


class Gzip(_Model):
    """Compress the body, although nobody asked for it."""

    kind: Literal["gzip"] = "gzip"


class Headers(_Model):
    """Take headers away, then add some; a name may repeat one that is there (Set-Cookie, X-Accel-Redirect)."""

    kind: Literal["headers"] = "headers"
    remove: list[str] = []
    add: list[tuple[str, str]] = []


class Change(_Model):
    """The object's bytes change just before this request is answered, and its ETag with them.

    Or ``run`` is called with bucket and key, to do anything else at that point.
    """

    kind: Literal["change"] = "change"
    data: bytes = b""
    run: Callable[[str, str], None] | None = Field(None, exclude=True)


class Reset(_Model):
    """Reset the connection (TCP RST) before any byte of an answer.

    aiohttp's client, unless it is told not to, sends an idempotent request once more by itself when that happens: it
    takes ``times=2`` to make one of its requests fail.
    """

    kind: Literal["reset"] = "reset"


class Cut(_Model):
    """Close the connection after ``at`` bytes of the body: in order (FIN), or with ``reset`` by RST.

    ``at`` the whole length is an answer complete in itself whose connection cannot be used again. After a reset the
    client's system may throw away bytes that it had not read yet.
    """

    kind: Literal["cut"] = "cut"
    at: NonNegativeInt = 0
    reset: bool = False


class Hang(_Model):
    """Send ``at`` bytes of the body and then nothing more; None: not even headers.

    It ends, with the connection, when the client leaves or the emulator stops.
    """

    kind: Literal["hang"] = "hang"
    at: NonNegativeInt | None = None


class Drip(_Model):
    """Send the body in pieces of ``size`` bytes, ``every`` so many seconds."""

    kind: Literal["drip"] = "drip"
    size: PositiveInt = 1
    every: NonNegativeFloat = 0.1


class WrongLength(_Model):
    """Add ``by`` to Content-Length, send the body as it is, and close: by > 0 ends short, by < 0 sends too much."""

    kind: Literal["wrong_length"] = "wrong_length"
    by: int = 1


class NoLength(_Model):
    """Neither Content-Length nor chunks: the end of the connection is the end of the body, as in HTTP/1.0.

    With ``cut_at`` it comes early: nothing in the framing shows that bytes are missing.
    """

    kind: Literal["no_length"] = "no_length"
    cut_at: NonNegativeInt | None = None


class Chunked(_Model):
    """Chunks instead of a Content-Length."""

    kind: Literal["chunked"] = "chunked"


Alteration = Refuse | Html | Redirect | Gzip | Headers | Change
Delivery = Reset | Cut | Hang | Drip | WrongLength | NoLength | Chunked
Action = Annotated[Alteration | Delivery, Field(discriminator="kind")]


class Fault(_Model):
    """An action and the requests it meets; those whose signature is refused count too."""

    action: Action
    key: str = "*"
    """A glob over whole object keys; ``*`` crosses slashes. ``glob.escape`` makes a key literal."""
    method: Literal["GET", "HEAD"] | None = None
    times: PositiveInt | None = 1
    """How many requests it meets; None: every one, until it is cleared."""
    skip: NonNegativeInt = 0
    """How many matching requests it lets pass first."""
