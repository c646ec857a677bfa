"""Bearer tokens for the owners of the development stack's images."""

import time

import jwt

from gateway_dev.stack import JWT_SECRET

_LIFETIME = 24 * 3600  # seconds


def token_for(user: str) -> str:
    """Return a bearer token for the user, signed with the development secret and valid for a day."""
    return jwt.encode({"sub": user, "exp": int(time.time()) + _LIFETIME}, JWT_SECRET, algorithm="HS256")
