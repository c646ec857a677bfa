"""One request as COS reads it: decoded exactly once, byte for byte, from the raw request target."""

from dataclasses import dataclass, field
from urllib.parse import unquote, unquote_plus

from multidict import CIMultiDict, CIMultiDictProxy


@dataclass(frozen=True, slots=True)
class CosRequest:
    """Parts of a request that signature, look-up and conditions use.

    ``path`` and ``query`` are percent-decoded UTF-8; bytes that are not UTF-8 are kept as surrogates, so that two
    different targets never become one key.
    """

    method: str
    host: str
    """Host header, lower case, without the port: the port is not part of what is signed."""
    path: str
    query: tuple[tuple[str, str], ...] = ()
    headers: CIMultiDictProxy[str] = field(default_factory=lambda: CIMultiDictProxy(CIMultiDict()))

    @property
    def key(self) -> str:
        """The object key: the path without its one leading slash."""
        return self.path[1:]

    def first(self, name: str) -> str | None:
        """The first value of the query parameter, or None. Names are case-sensitive here, as in a URL."""
        return next((value for known, value in self.query if known == name), None)


def parse_request(method: str, target: str, headers: CIMultiDictProxy[str]) -> CosRequest:
    """Read the raw request target (RFC 9112 section 3.2: origin form, or absolute form as sent to proxies).

    Nothing is folded: ``/a/../b`` and ``/a//b`` are keys. A ``+`` in the query is a space, in the path it is a plus.
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
    """``b.cos.local:9000`` -> ``b.cos.local``; the brackets of an IPv6 address are kept."""
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdigit() else host


def _query_pairs(raw_query: str) -> list[tuple[str, str]]:
    # urllib.parse.parse_qsl would do, but for its limit on fields and for older Pythons that split on ";" too:
    # a raw ";" occurs in the q-sign-time of URLs that the COS console makes.
    pairs = []
    for field_ in filter(None, raw_query.split("&")):
        name, _, value = field_.partition("=")
        pairs.append((unquote_plus(name, errors="surrogateescape"), unquote_plus(value, errors="surrogateescape")))
    return pairs


def _bytewise(raw: str) -> str:
    """Percent-encode what a client sent as raw bytes, so that decoding joins it with its encoded neighbours."""
    return "".join(c if c.isascii() else "".join(f"%{byte:02X}" for byte in _utf8(c)) for c in raw)


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
