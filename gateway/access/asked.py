"""The part of a request on which its answer may depend."""

from typing import NamedTuple

from multidict import MultiMapping


class Asked(NamedTuple):
    """A request, as it was received.

    path, query: without decoding. Signed links sign the exact path.
    peer: the address of the other end of the socket, None for a Unix socket.
    """

    method: str
    path: str
    query: str
    headers: MultiMapping[str]
    peer: str | None
