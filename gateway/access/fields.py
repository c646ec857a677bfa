"""Header fields as they were sent, including repeated ones."""

from collections.abc import Mapping

from multidict import CIMultiDict, CIMultiDictProxy


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
    pairs = (pair.partition("=") for field in values_of(headers, "Cookie") for pair in field.split(";"))
    return [value.strip().strip('"') for cookie, _, value in pairs if cookie.strip() == name]
