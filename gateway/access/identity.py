"""Who asks."""

import hmac
import logging
from collections.abc import Mapping
from dataclasses import dataclass

import jwt
from pydantic import SecretStr

from gateway.errors import Unauthorized
from gateway.settings import JwtSettings

logger = logging.getLogger(__name__)

_LEEWAY = 30


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever sent a request.

    ``user`` is None for somebody unknown. ``rejected`` says that credentials were shown and are not valid: that is
    no reason to refuse what everybody may have.
    """

    user: str | None = None
    is_admin: bool = False
    rejected: bool = False

    def require_valid(self) -> None:
        """Raise ``Unauthorized`` if bad credentials were shown."""
        if self.rejected:
            raise Unauthorized


ANYBODY = Caller()


class Authenticator:
    """Tells callers by their ``Authorization: Bearer`` header: a JSON Web Token, or the admin token.

    With neither configured the header is not looked at.
    """

    def __init__(self, jwt_settings: JwtSettings | None, admin_token: SecretStr | None) -> None:
        self._jwt = jwt_settings
        self._key = jwt_settings.secret.get_secret_value() if jwt_settings is not None else ""
        self._admin_token = admin_token.get_secret_value().encode() if admin_token is not None else None

    def identify(self, headers: Mapping[str, str]) -> Caller:
        """The caller; never raises."""
        if self._jwt is None and self._admin_token is None:
            return ANYBODY
        authorization = headers.get("Authorization")
        if authorization is None:
            return ANYBODY
        scheme, _, token = authorization.partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token:
            # Another scheme is not for us: a proxy's Basic credentials, say.
            return ANYBODY
        if self._admin_token is not None and hmac.compare_digest(
            token.encode(errors="surrogateescape"), self._admin_token
        ):
            return Caller(is_admin=True)
        return self._from_jwt(token)

    def _from_jwt(self, token: str) -> Caller:
        if self._jwt is None:
            return Caller(rejected=True)
        try:
            claims = jwt.decode(
                token,
                self._key,
                algorithms=list(self._jwt.algorithms),
                audience=self._jwt.audience,
                issuer=self._jwt.issuer,
                leeway=_LEEWAY,
                options={"require": ["exp"], "verify_aud": self._jwt.audience is not None},
            )
        except jwt.InvalidTokenError as error:
            logger.debug("token rejected: %s", type(error).__name__)
            return Caller(rejected=True)
        user = claims.get(self._jwt.user_claim)
        if isinstance(user, int) and not isinstance(user, bool):
            user = str(user)
        return Caller(user=user) if isinstance(user, str) and user else Caller(rejected=True)
