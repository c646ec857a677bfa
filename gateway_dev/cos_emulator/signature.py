"""COS's V5 request signature by the published algorithm (doc 7778), as pure functions."""

import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import quote

from gateway_dev.cos_emulator.request import CosRequest


class MalformedAuthorization(ValueError):
    """A signature that cannot be parsed. The message names the invalid part."""


@dataclass(frozen=True, slots=True)
class Authorization:
    """Fields of a request's signature: signer, validity, signed headers and parameters."""

    secret_id: str
    sign_time: str
    key_time: str
    header_names: tuple[str, ...]
    param_names: tuple[str, ...]
    signature: str

    @property
    def window(self) -> tuple[int, int]:
        """Start and end of the validity in Unix seconds. Raises MalformedAuthorization."""
        start, _, end = self.sign_time.partition(";")
        if not (_is_decimal(start) and _is_decimal(end)):
            raise MalformedAuthorization("q-sign-time is not <start>;<end> in Unix seconds")
        return int(start), int(end)


@dataclass(frozen=True, slots=True)
class Signed:
    """A signature and the two texts it is computed from, which COS sends with SignatureDoesNotMatch."""

    signature: str
    string_to_sign: str
    http_string: str


def find_authorization(request: CosRequest) -> Authorization | None:
    """Parse the signature in the Authorization header, the ``q-*`` parameters or the ``sign`` parameter.

    Return None for an anonymous request. Raises MalformedAuthorization.
    """
    if header := request.headers.get("Authorization"):
        return _authorization(_fields(header))
    # The values of q-* parameters are encoded once more than in the header; parsing the query removed that layer.
    if fields := {name: value for name, value in request.query if name.startswith("q-")}:
        return _authorization(fields)
    if merged := request.first("sign"):
        return _authorization(_fields(merged))
    return None


def sign(request: CosRequest, authorization: Authorization, secret_key: str) -> Signed:
    """Compute the signature of ``request`` with the fields of ``authorization`` (doc 7778)."""
    params = _canonical(request.query, authorization.param_names)
    # Clients of the emulator may send a port in Host; the signature does not cover it.
    headers = _canonical(
        ((name, request.host if name.lower() == "host" else value) for name, value in request.headers.items()),
        authorization.header_names,
    )
    http_string = f"{request.method.lower()}\n{request.path}\n{params}\n{headers}\n"
    digest = hashlib.sha1(_utf8(http_string), usedforsecurity=False).hexdigest()
    string_to_sign = f"sha1\n{authorization.sign_time}\n{digest}\n"
    sign_key = _hmac_sha1(secret_key, authorization.key_time)
    return Signed(_hmac_sha1(sign_key, string_to_sign), string_to_sign, http_string)


def matches(signed: Signed, authorization: Authorization) -> bool:
    """Compare the computed signature with the request's, in constant time."""
    return hmac.compare_digest(_utf8(signed.signature), _utf8(authorization.signature))


def encode(text: str) -> str:
    """Percent-encode as the signature does: only ``A-Z a-z 0-9 - _ . ~`` stay, hex in upper case."""
    return quote(text, safe="-_.~", errors="surrogateescape")


def _canonical(pairs: Iterable[tuple[str, str]], names: tuple[str, ...]) -> str:
    """Encode the listed pairs, sorted by name. The values of a repeated name are sorted, as in the Go SDK."""
    listed = frozenset(names)
    encoded = sorted((encode(name).lower(), encode(value)) for name, value in pairs)
    return "&".join(f"{name}={value}" for name, value in encoded if name in listed)


def _fields(text: str) -> dict[str, str]:
    return {name: value for name, _, value in (part.partition("=") for part in text.strip().split("&"))}


def _authorization(fields: dict[str, str]) -> Authorization:
    try:
        if fields["q-sign-algorithm"] != "sha1":
            raise MalformedAuthorization("q-sign-algorithm is not sha1")
        return Authorization(
            secret_id=fields["q-ak"],
            sign_time=fields["q-sign-time"],
            key_time=fields["q-key-time"],
            header_names=_names(fields["q-header-list"]),
            param_names=_names(fields["q-url-param-list"]),
            signature=fields["q-signature"],
        )
    except KeyError as missing:
        raise MalformedAuthorization(f"{missing.args[0]} is missing") from missing


def _names(listed: str) -> tuple[str, ...]:
    return tuple(filter(None, listed.split(";")))


def _is_decimal(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _hmac_sha1(key: str, message: str) -> str:
    return hmac.new(_utf8(key), _utf8(message), hashlib.sha1).hexdigest()


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
