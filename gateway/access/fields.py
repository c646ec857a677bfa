"""Header fields as they were sent, repetitions included."""

from collections.abc import Mapping


def values_of(headers: Mapping[str, str], name: str) -> list[str]:
    """Every value of the field, in the order they were sent; a multidict says each."""
    lowered = name.lower()
    return [value for field, value in headers.items() if field.lower() == lowered]


def cookies_of(headers: Mapping[str, str], name: str) -> list[str]:
    """Every value of the cookie, without quotes (RFC 6265 section 4.1.1): a browser may send several of a name."""
    pairs = (pair.partition("=") for field in values_of(headers, "Cookie") for pair in field.split(";"))
    return [value.strip().strip('"') for cookie, _, value in pairs if cookie.strip() == name]
