"""How long caches may keep an image."""

from typing import Final, NamedTuple, Self

_YEAR: Final = 365 * 24 * 3600
_BRIEF: Final = 60  # seconds
_UNREAD: Final = 5  # seconds


class CachePolicy(NamedTuple):
    """Cache rules of an image: lifetimes in seconds, and the ``Vary`` of private images (the fields with credentials).

    max_age: for browsers, and for shared caches unless ``shared_max_age`` is set.
    immutable: the address names a version, so its bytes never change (RFC 8246).
    has_tags: public images carry ``Cache-Tag: image-ID``, by which a CDN drops every address of an image.
    stale_while_revalidate, stale_if_error: for how long a public image may be served after that (RFC 5861).
    unread: the image's row could not be read, so that no cache may rely on the answer.
    """

    max_age: int
    private_vary: str
    immutable: bool = False
    has_tags: bool = False
    shared_max_age: int | None = None
    stale_while_revalidate: int = 0
    stale_if_error: int = 0
    unread: bool = False

    def for_unread(self) -> Self:
        """Return the policy of an answer by a row that could not be read."""
        return self.within(_UNREAD)._replace(shared_max_age=None, unread=True)

    def for_version(self) -> Self:
        """Return the policy of an address that names the image's version."""
        if self.unread:  # the version may be withdrawn
            return self
        return self.within(_YEAR)._replace(max_age=_YEAR, shared_max_age=None, immutable=True)

    def for_substitute(self) -> Self:
        """Return the policy of an answer with another image or version than the address names."""
        return self.within(_BRIEF)

    def within(self, seconds: int) -> Self:
        """Return the policy of an answer that no cache may use after ``seconds``."""
        shared = None if self.shared_max_age is None else min(self.shared_max_age, seconds)
        max_age = min(self.max_age, seconds)
        return type(self)(max_age, self.private_vary, has_tags=self.has_tags, shared_max_age=shared, unread=self.unread)

    def cache_control(self, *, public: bool) -> str:
        """Return Cache-Control. Shared caches keep public images alone."""
        if not public:
            if self.unread:
                return "private, no-store"
            return f"private, max-age={self.max_age}{', immutable' if self.immutable else ''}"
        value = f"public, max-age={self.max_age}"
        if self.immutable:
            value += ", immutable"
        if self.shared_max_age is not None:
            value += f", s-maxage={self.shared_max_age}"
        if self.stale_while_revalidate:
            value += f", stale-while-revalidate={self.stale_while_revalidate}"
        if self.stale_if_error:
            value += f", stale-if-error={self.stale_if_error}"
        return value
