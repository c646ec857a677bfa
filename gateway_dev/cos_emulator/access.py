"""Access check: verifies a request's signature, validity and token against the known credentials (doc 7778, 40105)."""

import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from gateway_dev.cos_emulator import refusals
from gateway_dev.cos_emulator.request import CosRequest
from gateway_dev.cos_emulator.signature import Authorization, MalformedAuthorization, find_authorization, matches, sign

TOKEN_NAME = "x-cos-security-token"


@dataclass(frozen=True, slots=True)
class Credential:
    """Secret of a SecretId. With a token, a temporary credential (STS) that is valid until ``expires_at``."""

    secret_key: str = field(repr=False)
    token: str | None = field(default=None, repr=False)
    expires_at: float | None = None
    """Unix seconds; None for a permanent credential."""


Credentials = Mapping[str, Credential]
"""SecretId -> Credential. Read on every request, so a caller can rotate credentials by changing the mapping."""


@dataclass(frozen=True, slots=True)
class Access:
    """Access check of requests. ``skew_tolerance``: seconds that a signature may start in the future."""

    credentials: Credentials
    now: Callable[[], float]
    skew_tolerance: float = 0.0

    def admit(self, request: CosRequest) -> str:
        """Return the SecretId that signed the request. Raises Refusal with the error that COS answers.

        The validity window is checked before the signature: an expired URL with a wrong signature is reported as
        expired.
        """
        try:
            authorization = find_authorization(request)
            if authorization is None:
                raise refusals.access_denied()
            self._check_window(authorization)
        except MalformedAuthorization as malformed:
            # COS's messages for these are not documented; the message names the wrong part.
            raise refusals.access_denied(f"Access Denied. {malformed}") from malformed
        credential = self.credentials.get(authorization.secret_id)
        if credential is None:
            raise refusals.invalid_access_key_id()
        self._check_token(request, credential)
        signed = sign(request, authorization, credential.secret_key)
        if not matches(signed, authorization):
            raise refusals.signature_does_not_match(signed.string_to_sign, signed.http_string)
        return authorization.secret_id

    def _check_window(self, authorization: Authorization) -> None:
        if authorization.key_time != authorization.sign_time:
            # Every SDK sends equal values; a difference is an error of the signer.
            raise MalformedAuthorization("q-key-time differs from q-sign-time")
        start, end = authorization.window
        if self.now() > end:
            raise refusals.request_expired(self.now())
        if start > self.now() + self.skew_tolerance:
            raise refusals.request_time_too_skewed()

    def _check_token(self, request: CosRequest, credential: Credential) -> None:
        if credential.token is None:
            return
        given = request.headers.get(TOKEN_NAME) or request.first(TOKEN_NAME) or ""
        if not hmac.compare_digest(given.encode("utf-8", "surrogateescape"), credential.token.encode()):
            # COS does not recognise a temporary SecretId without its token.
            raise refusals.invalid_access_key_id()
        if credential.expires_at is not None and self.now() >= credential.expires_at:
            raise refusals.expired_token()
