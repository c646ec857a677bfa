"""COS's own words for a failure: the code in the body of an error (COS document 7730)."""

import re
from typing import Final, NamedTuple

import aiohttp
from aiohttp import hdrs

from gateway.concurrency.shared_timeout import SharedTimeout
from gateway.origin.http_date import seconds_of

_MOST_BYTES: Final = 4096  # of a body that names the code in its first line
_CODE: Final = re.compile(rb"<Code>([A-Za-z][A-Za-z.]{0,63})</Code>")
_EXPIRED: Final = b"<Message>Request has expired</Message>"


class CosError(NamedTuple):
    """An answer without an object.

    ``code`` is None where COS named none, as in every answer to a HEAD. ``date`` is COS's time in Unix seconds, None
    where it told none. ``is_expired``: the signature's time is over.
    """

    status: int
    code: str | None = None
    date: float | None = None
    is_expired: bool = False

    @property
    def clock(self) -> float | None:
        """COS's time where a wrong clock explains the refusal, as COS's Node SDK has it; None for any other error."""
        is_clock_error = self.code == "RequestTimeTooSkewed" or (self.code == "AccessDenied" and self.is_expired)
        return self.date if is_clock_error else None

    def __str__(self) -> str:
        """Status and code, for the log."""
        return f"COS answered {self.status}" + (f" {self.code}" if self.code is not None else "")


def parse_error(status: int, date: str | None, body: bytes) -> CosError:
    """Return what ``body``, or its beginning, says; whatever it is."""
    code = _CODE.search(body)
    return CosError(status, code[1].decode() if code is not None else None, seconds_of(date), _EXPIRED in body)


async def read_error(response: aiohttp.ClientResponse, shared_timeout: SharedTimeout) -> CosError:
    """Return what an answer without an object says, and give its connection back.

    At most 4 KiB are read, within ``shared_timeout``; a body that does not come costs its code.
    """
    status, date = response.status, response.headers.get(hdrs.DATE)
    body = b""
    try:
        with shared_timeout.limit():
            while len(body) < _MOST_BYTES and (piece := await response.content.read(_MOST_BYTES - len(body))):
                body += piece
    except (aiohttp.ClientError, OSError):  # a time-out is an OSError, too
        pass
    finally:
        response.release()
    return parse_error(status, date, body)
