"""Faults: the actions that change an answer, the requests that each applies to, and the faults that are active.

Alterations change the answer before it is sent. All alterations that fire apply, in order. Deliveries change how the
answer is sent. Only the first delivery that fires applies. So ``Gzip`` and ``Cut`` together cut a gzipped body.

In JSON (``POST /.emulator/faults``) a fault is ``{"action": {"kind": "cut", "at": 1000}, "key": "*.png", "times": 1}``
and bytes are base64, in either alphabet.
"""

from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, NonNegativeInt, PositiveInt


class _Model(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", ser_json_bytes="base64", val_json_bytes="base64", hide_input_in_errors=True
    )


class Refuse(_Model):
    """Answer with an error in COS's form. The answer to HEAD has no body."""

    kind: Literal["refuse"] = "refuse"
    status: int = Field(503, ge=400, le=599)
    code: str = "SlowDown"
    message: str = "Please reduce your request rate."
    headers: dict[str, str] = {}
    """Additional headers, such as Retry-After."""


class Html(_Model):
    """Answer with an HTML page and status 200, as a captive portal or a broken proxy does."""

    kind: Literal["html"] = "html"
    body: str = "<!doctype html><title>Sign in</title><p>Sign in to use this network.</p>"


class Redirect(_Model):
    """Answer with a redirect, as a bucket with an origin-pull rule does (doc 7753)."""

    kind: Literal["redirect"] = "redirect"
    location: str
    status: Literal[301, 302, 303, 307, 308] = 302


class Gzip(_Model):
    """Compress the body, whatever Accept-Encoding says."""

    kind: Literal["gzip"] = "gzip"


class Headers(_Model):
    """Remove headers, then add others. An added header does not replace a header of the same name."""

    kind: Literal["headers"] = "headers"
    remove: list[str] = []
    add: list[tuple[str, str]] = []


class Change(_Model):
    """Replace the object's bytes, and so its ETag, before the look-up for this request.

    ``run``, if not None, is called with bucket and key instead.
    """

    kind: Literal["change"] = "change"
    data: bytes = b""
    run: Callable[[str, str], None] | None = Field(None, exclude=True)


class Reset(_Model):
    """Reset the connection (TCP RST) before any byte of an answer.

    By default aiohttp's client then repeats an idempotent request once, so that only ``times=2`` fails its request.
    """

    kind: Literal["reset"] = "reset"


class Cut(_Model):
    """Close the connection after ``at`` bytes of the body, with FIN or, if ``reset``, with RST.

    With ``at`` equal to the length the answer is complete, but the connection cannot be reused. After a reset the
    client's kernel may discard bytes that the client has not read.
    """

    kind: Literal["cut"] = "cut"
    at: NonNegativeInt = 0
    reset: bool = False


class Hang(_Model):
    """Stop sending after ``at`` bytes of the body, or before the headers if None.

    The connection closes when the client disconnects or the emulator stops.
    """

    kind: Literal["hang"] = "hang"
    at: NonNegativeInt | None = None


class Drip(_Model):
    """Send the body in pieces of ``size`` bytes, ``every`` seconds apart."""

    kind: Literal["drip"] = "drip"
    size: PositiveInt = 1
    every: NonNegativeFloat = 0.1


class WrongLength(_Model):
    """Add ``by`` to Content-Length, send the unchanged body, and close.

    With ``by`` > 0 the body is shorter than announced, with ``by`` < 0 longer.
    """

    kind: Literal["wrong_length"] = "wrong_length"
    by: int = 1


class NoLength(_Model):
    """Send neither Content-Length nor chunks: closing the connection ends the body, as in HTTP/1.0.

    ``cut_at`` (bytes) truncates the body, which the framing does not show. None sends the whole body.
    """

    kind: Literal["no_length"] = "no_length"
    cut_at: NonNegativeInt | None = None


class Chunked(_Model):
    """Send chunks instead of a Content-Length."""

    kind: Literal["chunked"] = "chunked"


Alteration = Refuse | Html | Redirect | Gzip | Headers | Change
Delivery = Reset | Cut | Hang | Drip | WrongLength | NoLength | Chunked
Action = Annotated[Alteration | Delivery, Field(discriminator="kind")]


class Fault(_Model):
    """An action and the requests that it applies to, including those that COS refuses."""

    action: Action
    key: str = "*"
    """A glob over whole object keys; ``*`` crosses slashes. ``glob.escape`` makes a key literal."""
    method: Literal["GET", "HEAD"] | None = None
    times: PositiveInt | None = 1
    """Number of requests that the action applies to; None: all, until the faults are cleared."""
    skip: NonNegativeInt = 0
    """Number of matching requests to leave unchanged first."""


@dataclass(slots=True)
class ArmedFault:
    """An active fault and its counters."""

    fault: Fault
    matched: int = 0
    """Requests that matched key and method, including those that ``skip`` or ``times`` left unchanged."""
    fired: int = 0
    """Requests that the action applied to."""

    def fires(self, method: str, key: str) -> bool:
        """Count the request. Return whether the action applies to it."""
        fault = self.fault
        if fault.method not in {None, method} or not fnmatchcase(key, fault.key):
            return False
        self.matched += 1
        if self.matched <= fault.skip or (fault.times is not None and self.fired >= fault.times):
            return False
        self.fired += 1
        return True


@dataclass(frozen=True, slots=True)
class Fired:
    """Actions that apply to a request."""

    alterations: list[Alteration]
    delivery: Delivery | None


class Faults:
    """Active faults in the order they were added."""

    def __init__(self) -> None:
        self.armed: list[ArmedFault] = []

    def add(self, fault: Fault) -> ArmedFault:
        """Activate a fault. Return it with its counters."""
        armed = ArmedFault(fault)
        self.armed.append(armed)
        return armed

    def clear(self) -> None:
        """Remove all faults. Requests in progress keep the actions that fired for them."""
        self.armed.clear()

    def fire(self, method: str, key: str) -> Fired:
        """Count the request in each fault. Return the actions that apply to it."""
        actions = [armed.fault.action for armed in self.armed if armed.fires(method, key)]
        deliveries = [action for action in actions if isinstance(action, Delivery)]
        return Fired(
            alterations=[action for action in actions if isinstance(action, Alteration)],
            delivery=deliveries[0] if deliveries else None,
        )
