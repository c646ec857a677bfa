"""Request parts that COS uses, decoded exactly once from the raw request target."""

from dataclasses import dataclass, field
from urllib.parse import unquote, unquote_plus

from multidict import CIMultiDict, CIMultiDictProxy


@dataclass(frozen=True, slots=True)
class CosRequest:
    """Request parts for signature, look-up and conditions.

    ``path`` and ``query`` are percent-decoded UTF-8. Bytes that are not UTF-8 become surrogates, so that different
    bytes give different keys.
    """

    method: str
    host: str
    """Host header in lower case, without the port, which is not signed."""
    path: str
    query: tuple[tuple[str, str], ...] = ()
    headers: CIMultiDictProxy[str] = field(default_factory=lambda: CIMultiDictProxy(CIMultiDict()))

    @property
    def key(self) -> str:
        """Object key: the path without its first slash."""
        return self.path[1:]

    def first(self, name: str) -> str | None:
        """Return the first value of the query parameter, or None. Names are case-sensitive."""
        return next((value for other, value in self.query if other == name), None)


def parse_request(method: str, target: str, headers: CIMultiDictProxy[str]) -> CosRequest:
    """Parse the raw request target (RFC 9112 section 3.2: origin form, or absolute form as sent to proxies).

    Paths are not normalised: ``/a/../b`` and ``/a//b`` are keys. ``+`` means a space in the query, a plus in the path.
    """
    if target.lower().startswith(("http://", "https://")):
        _, _, rest = target.partition("://")
        target = "/" + rest.partition("/")[2]
    raw_path, _, raw_query = target.partition("?")
    return CosRequest(
        method=method,
        host=without_port(headers.get("Host", "")).lower(),
        path=unquote(_bytewise(raw_path), errors="surrogateescape"),
        query=tuple(_query_pairs(_bytewise(raw_query))),
        headers=headers,
    )


def without_port(host: str) -> str:
    """``b.cos.local:9000`` -> ``b.cos.local``. The brackets of an IPv6 address are kept."""
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdigit() else host


def _query_pairs(raw_query: str) -> list[tuple[str, str]]:
    # urllib.parse.parse_qsl limits the number of fields, and older Pythons split on ";" too, which the COS console
    # leaves unencoded in q-sign-time.
    pairs = []
    for field_ in filter(None, raw_query.split("&")):
        name, _, value = field_.partition("=")
        pairs.append((unquote_plus(name, errors="surrogateescape"), unquote_plus(value, errors="surrogateescape")))
    return pairs


def _bytewise(raw: str) -> str:
    """Percent-encode raw non-ASCII bytes, so that a character sent half raw and half encoded is decoded whole."""
    return "".join(c if c.isascii() else "".join(f"%{byte:02X}" for byte in _utf8(c)) for c in raw)


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
