"""How long caches may keep an image."""

from typing import Final, NamedTuple, Self

_YEAR: Final = 365 * 24 * 3600
_BRIEF_MAX_AGE: Final = 60  # seconds


class CachePolicy(NamedTuple):
    """Cache lifetime in seconds, and the Vary field of private images: the fields that identify a caller.

    ``immutable``: the address names a version, so its bytes never change (RFC 8246). ``has_tags``: public
    images carry ``Cache-Tag: image-ID``, by which a CDN drops every address of an image. ``may_be_stale``: shared
    caches may serve a public image stale for a while (RFC 5861).
    """

    max_age: int
    private_vary: str
    immutable: bool = False
    has_tags: bool = False
    may_be_stale: bool = True

    def for_version(self) -> Self:
        """Return the policy of an address that names the image's version."""
        return self._replace(max_age=_YEAR, immutable=True)

    def for_another_version(self) -> Self:
        """Return the policy of an answer with another version than the address names."""
        return self._replace(max_age=min(self.max_age, _BRIEF_MAX_AGE), immutable=False)

    def for_substitute(self) -> Self:
        """Return the policy of an image sent in place of the one that the address names."""
        return self.for_another_version()._replace(may_be_stale=False)
