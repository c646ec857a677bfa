"""A port to listen on: its URL, and the error if it is not available."""

from collections.abc import Iterator
from contextlib import contextmanager


class CannotListen(OSError):
    """A port is not available. The message names the configuration keys of the port."""


@contextmanager
def cannot_listen(section: str, host: str, port: int) -> Iterator[None]:
    """Turn an ``OSError`` into ``CannotListen`` for ``section.host`` and ``section.port``."""
    try:
        yield
    except OSError as error:
        keys, reason = f"{section}.host and {section}.port", error.strerror or error
        raise CannotListen(f"{keys}: cannot listen on {host}:{port}: {reason}") from error


def url_of(host: str, port: int) -> str:
    """Return the URL without a trailing slash. An IPv6 address is in brackets (RFC 3986 section 3.2.2)."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
