"""The id that ties an answer to the log lines written while it was made."""

import random
import re
from contextvars import ContextVar

_ACCEPTABLE = re.compile(r"[A-Za-z0-9._-]{8,64}")

# The request being answered by the current task, "" outside of one. Set as the request is taken, read by the log.
current_request_id: ContextVar[str] = ContextVar("current_request_id", default="")


def request_id_from(header: str | None) -> str:
    """The id a proxy in front gave, if it can safely be logged and sent back; else a new one."""
    if header is not None and _ACCEPTABLE.fullmatch(header):
        return header
    return f"{random.getrandbits(64):016x}"
