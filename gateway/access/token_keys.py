"""The interface of token verification, free of the libraries that verify tokens."""

from typing import Any, Protocol


class BadToken(Exception):
    """The token is not valid. The message is for a log and quotes no part of the token."""


class TokenKeys(Protocol):
    """Source of the keys that verify tokens."""

    @property
    def generation(self) -> int:
        """A number that changes with the keys."""

    def key_for(self, token: str) -> Any:
        """Return the key to verify ``token`` with. Raises ``jwt.PyJWTError`` without one."""
