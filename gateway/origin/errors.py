"""What can go wrong with the origin that is not, or not yet, an outcome for the client."""


class PresignedUrlRefused(Exception):
    """COS answered 403: the URL is stale, or never was good. Renew it once and try again.

    ``told_at`` is COS's own time, in Unix seconds; None when it told none.
    """

    def __init__(self, told_at: float | None = None) -> None:
        super().__init__()
        self.told_at = told_at


class BodyLost(Exception):
    """The body broke off, stalled, or is not what COS announced."""


class VersionChanged(Exception):
    """COS answered 412: the object is no longer the version that was asked for."""


class ObjectMoved(Exception):
    """While a URL was renewed, the image's row came to name another object: look the image up again."""
