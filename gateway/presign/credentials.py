"""The credentials that sign presigned URLs."""

from dataclasses import dataclass

from gateway.settings import CosSettings


@dataclass(frozen=True, slots=True)
class Credentials:
    """A key of COS. ``expires_at`` (Unix seconds) is the end of a temporary ``token``; None when it never ends."""

    secret_id: str
    secret_key: str
    token: str | None = None
    expires_at: int | None = None


def credentials_from(settings: CosSettings) -> Credentials:
    """Return the configured credentials in the clear, for the signer alone."""
    return Credentials(
        secret_id=settings.secret_id.get_secret_value(),
        secret_key=settings.secret_key.get_secret_value(),
        token=settings.token.get_secret_value() if settings.token is not None else None,
        expires_at=settings.token_expires_at,
    )
