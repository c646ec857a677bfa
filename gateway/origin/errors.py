"""Failures of the origin that are handled inside the gateway and are not, or not yet, an outcome for the client."""

import aiohttp

from gateway.origin.cos_error import CosError


class ConnectionLost(aiohttp.ClientError):
    """The connection ended before COS answered. It is unknown whether COS received the request."""


class NothingSent(aiohttp.ClientError):
    """The connection had ended before the request was written: COS received nothing of it."""


class PresignedUrlRefused(Exception):
    """COS refused the URL: it has expired, or was never valid. Renew it once and try again.

    ``error`` is COS's answer. The exception's message is for the log.
    """

    def __init__(self, error: CosError, reason: str = "") -> None:
        super().__init__(reason or str(error))
        self.error = error


class BodyLost(Exception):
    """The body broke off, stalled, or does not match its announced length or checksum."""


class BodyTooSlow(BodyLost):
    """COS sent less than 1 KiB a second while the gateway waited for more."""


class VersionChanged(Exception):
    """COS answered 412: the object is no longer the requested version."""


class RowChanged(Exception):
    """The image's row has changed since access to the image was checked, or is gone: look the image up again.

    It is raised instead of a request to COS, so nothing of the changed row can be sent before that.
    """
