"""The head of a request: the part on which its answer may depend, and the credentials in its header fields."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple
from urllib.parse import parse_qsl, unquote

from multidict import CIMultiDict, CIMultiDictProxy, MultiDict, MultiMapping

from gateway.errors import Unauthorized

ORIGINAL_URI: Final = "X-Original-URI"


@dataclass(slots=True)
class RequestHead:
    """A client's request without its body, as it was received.

    path, query: without decoding. Signed links sign the exact path.
    peer: the address of the other end of the socket, None for a Unix socket.
    """

    method: str
    path: str
    query: str
    headers: MultiMapping[str]
    peer: str | None


class Address(NamedTuple):
    """The address that a request asks for: the path as it was sent (not decoded), and the parsed query."""

    path: str
    query: MultiMapping[str]


def original_address(headers: Mapping[str, str]) -> Address | None:
    """Return the address of the request that a proxy asks about, in ``X-Original-URI`` (nginx ``auth_request``).

    None without the field. The gateway refuses an address with ``#``, so such an address is None, too. Raises
    ``Unauthorized`` if the field was sent more than once.
    """
    values = values_of(headers, ORIGINAL_URI)
    if not values:
        return None
    if len(values) > 1:
        raise Unauthorized(f"{ORIGINAL_URI} was sent {len(values)} times")
    path, _, query = values[0].partition("?")
    if "#" in values[0]:
        return None
    return Address(path, MultiDict(parse_qsl(query, keep_blank_values=True)))


def is_address_of(path: str, image_id: str) -> bool:
    """Return whether the path is of this image: a link of another image gives no access to this one."""
    return unquote(path) in (f"/i/{image_id}", f"/api/v1/images/{image_id}/proxy")


def values_of(headers: Mapping[str, str], name: str) -> list[str]:
    """Return every value of the field in the order of sending. Only a multidict can have several."""
    if isinstance(headers, (CIMultiDictProxy, CIMultiDict)):
        return headers.getall(name, [])
    lowered = name.lower()
    return [value for field, value in headers.items() if field.lower() == lowered]


def bearer_token(value: str) -> str | None:
    """Return the token of an Authorization field (RFC 6750 section 2.1), or None without the scheme ``Bearer``."""
    scheme, _, token = value.partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def cookies_of(headers: Mapping[str, str], name: str) -> list[str]:
    """Return every value of the cookie, without quotes (RFC 6265 section 4.1.1). A browser may send several values."""
    fields = values_of(headers, "Cookie")
    pairs = (pair.partition("=") for field in fields for pair in field.split(";") if name in pair)
    return [value.strip().strip('"') for cookie, _, value in pairs if cookie.strip() == name]
