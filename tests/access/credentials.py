"""What callers show, made from the published formats and not with the code under test."""

import base64
import hashlib
import hmac
import json
import time
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as generate_rsa_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.conftest import JWT_SECRET

LINK_KEY = "the-key-that-signs-links-of-thirty-two-bytes"
OLD_LINK_KEY = "the-key-that-signed-links-before-this-one"
AUDIENCE = "images"
ISSUER = "the-shop"
COOKIE = "session"
USER_HEADER = "X-User-Id"

# Everything is configured; the first of two keys signs links.
ACCESS: dict[str, Any] = {
    "jwt": {"secret": JWT_SECRET, "audience": AUDIENCE, "issuer": ISSUER, "cookie": COOKIE},
    "forwarded_user": {"header": USER_HEADER, "trusted_proxies": ["127.0.0.1/32"]},
    "signed_links": {"keys": {"new": LINK_KEY, "old": OLD_LINK_KEY}},
}

RSA_KEY = generate_rsa_key(public_exponent=65537, key_size=2048)
EC_KEY = generate_private_key(SECP256R1())
ED_KEY = Ed25519PrivateKey.generate()
PRIVATE_KEYS: dict[str, Any] = {"RS256": RSA_KEY, "ES256": EC_KEY, "EdDSA": ED_KEY}
MAKERS: dict[str, Any] = {
    "RS256": jwt.algorithms.RSAAlgorithm,
    "ES256": jwt.algorithms.ECAlgorithm,
    "EdDSA": jwt.algorithms.OKPAlgorithm,
}


def public_pem(key: Any) -> str:
    """The public half, as an operator pastes it."""
    pem: bytes = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return pem.decode()


def token(*, key: Any = JWT_SECRET, algorithm: str = "HS256", headers: Any = None, **claims: Any) -> str:
    """Good for an hour, for alice, unless ``claims`` say otherwise; None leaves a claim out."""
    payload = {"sub": "alice", "exp": int(time.time()) + 3600, "aud": AUDIENCE, "iss": ISSUER, **claims}
    present = {name: value for name, value in payload.items() if value is not None}
    return jwt.encode(present, key, algorithm, headers=headers)


def forged(header: dict[str, Any], claims: dict[str, Any], signature: bytes = b"") -> str:
    """A token assembled by hand, with any header."""
    return ".".join(_base64url(part) for part in (json.dumps(header).encode(), json.dumps(claims).encode(), signature))


def signed_with_hmac(secret: bytes, **claims: Any) -> str:
    """An HS256 token with any bytes as the key, made without a library that would refuse them, as by an attacker."""
    payload = {"sub": "alice", "exp": int(time.time()) + 3600, "aud": AUDIENCE, "iss": ISSUER, **claims}
    unsigned = forged({"alg": "HS256", "typ": "JWT"}, payload).rpartition(".")[0]
    return f"{unsigned}.{_base64url(hmac.digest(secret, unsigned.encode(), 'sha256'))}"


def published(key: Any, algorithm: str, kid: str | None, **changes: Any) -> dict[str, Any]:
    """The entry of a JWKS document for the public half of ``key``; None omits a field."""
    entry = {**MAKERS[algorithm].to_jwk(key.public_key(), as_dict=True), "kid": kid, "use": "sig", **changes}
    return {name: value for name, value in entry.items() if value is not None}


def document(*entries: Any) -> bytes:
    """A JWKS document."""
    return json.dumps({"keys": entries}).encode()


def bearer(value: str) -> dict[str, str]:
    """The header that shows a token."""
    return {"Authorization": f"Bearer {value}"}


def link_query(path: str, *, exp: int | None = None, kid: str = "new", key: str = LINK_KEY, killed: int = 0) -> str:
    """The query that opens ``path``, by the contract only; valid for a minute unless ``exp`` is given."""
    exp = exp if exp is not None else int(time.time()) + 3600
    message = f"{path}\n{exp}" + (f"\n{killed}" if killed else "")
    signature = _base64url(hmac.new(key.encode(), message.encode(), hashlib.sha256).digest())
    return f"kid={kid}&exp={exp}&sig={signature}"


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
