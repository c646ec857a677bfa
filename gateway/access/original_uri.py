"""The address of the request that a proxy asks about, in ``X-Original-URI`` (nginx ``auth_request``)."""

from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote

from multidict import MultiDict, MultiMapping

from gateway.access.fields import values_of
from gateway.errors import Unauthorized

HEADER = "X-Original-URI"


class Address(NamedTuple):
    """The path of a request, as it was sent, and its query."""

    path: str
    query: MultiMapping[str]


def original_address(headers: Mapping[str, str], image_id: str) -> Address | None:
    """Return the address of the original request.

    None without the field, and for an address that is not of this image: a link of another image gives no access to
    this one. The gateway refuses an address with ``#``, so such an address is of no image. Raises ``Unauthorized`` if
    the field was sent more than once.
    """
    values = values_of(headers, HEADER)
    if not values:
        return None
    if len(values) > 1:
        raise Unauthorized(f"{HEADER} was sent {len(values)} times")
    path, _, query = values[0].partition("?")
    if "#" in values[0] or unquote(path) not in (f"/i/{image_id}", f"/api/v1/images/{image_id}/proxy"):
        return None
    return Address(path, MultiDict(parse_qsl(query, keep_blank_values=True)))
