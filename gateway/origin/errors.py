"""What can go wrong with the origin that is not, or not yet, an outcome for the client."""

from gateway.origin.cos_error import CosError


class PresignedUrlRefused(Exception):
    """COS refused the URL: it is stale, or never was good. Renew it once and try again.

    ``error`` is what COS said; what the exception was raised with is for the log.
    """

    def __init__(self, error: CosError, reason: str = "") -> None:
        super().__init__(reason or str(error))
        self.error = error


class BodyLost(Exception):
    """The body broke off, stalled, or is not what COS announced."""


class BodyTooSlow(BodyLost):
    """COS sent less than 1 KiB a second while the gateway waited for more."""


class VersionChanged(Exception):
    """COS answered 412: the object is no longer the version that was asked for."""


class ObjectMoved(Exception):
    """While a URL was renewed, the image's row came to name another object: look the image up again."""
