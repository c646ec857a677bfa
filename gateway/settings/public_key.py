"""The algorithm of a public key. Only a configuration with ``access.jwt.public_key`` imports this module."""

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

_MIN_RSA_BITS = 2048


def algorithm_of(pem: str) -> str:
    """Return the algorithm that this public key verifies. Raises ``ValueError`` if the gateway supports none for it."""
    try:
        key = load_pem_public_key(pem.encode())
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("public_key is not a public key in PEM (-----BEGIN PUBLIC KEY-----)") from None
    match key:
        case RSAPublicKey() if key.key_size >= _MIN_RSA_BITS:  # RFC 7518 section 3.3
            return "RS256"
        case EllipticCurvePublicKey() if isinstance(key.curve, SECP256R1):
            return "ES256"
        case Ed25519PublicKey():
            return "EdDSA"
        case _:
            raise ValueError("public_key must be RSA of 2048 bits or more, EC P-256 or Ed25519")
