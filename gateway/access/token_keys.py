"""What the authenticator knows of tokens without the libraries that verify them."""

from typing import Any, Protocol


class BadToken(Exception):
    """The token is not valid; the message is for a log and quotes no part of the token."""


class TokenKeys(Protocol):
    """Source of the keys that verify tokens."""

    def key_for(self, token: str) -> Any:
        """Return the key to verify ``token`` with; raises ``jwt.PyJWTError`` without one."""
        ...
