"""The caller of a request: who its credentials say has sent it."""

from dataclasses import dataclass, field

from gateway.access.signed_links import SignedLink

MOST_GROUPS = 200  # of a caller: each is looked for in the row of an image
_LONGEST_NAME = 256  # characters, of a user or a group that a proxy or a token names


class BadCredentials(Exception):
    """A request's token or a proxy's header is not valid. The message is for a log and quotes no part of it."""


class KeysUnknown(BadCredentials):
    """A token that may be valid: the keys of its issuer have not been fetched yet."""


@dataclass(slots=True)  # a frozen one takes four times as long to make
class Caller:
    """The sender of a request, as its credentials tell: a user, a holder of a signed link, or unknown.

    user: the user's id, None if unknown.
    groups: the groups of the user, as the token or the proxy says.
    link: the signed link of the request. Whether it is valid depends on the image.
    rejected: whether the request had credentials that are not valid. Public images are served all the same.
    reason: the cause of the rejection, for the log, without any part of the credentials. None if nothing was rejected.
    known_until: when the token or the link ends, in Unix seconds. None: neither has an end.
    is_forwarded: whether a proxy says who the user is, or would say so.
    is_unjudged: whether nobody can say yet that the rejected token is not valid.
    """

    user: str | None = None
    rejected: bool = False
    link: SignedLink | None = None
    reason: str | None = field(default=None, compare=False)
    known_until: int | None = field(default=None, compare=False)
    is_forwarded: bool = field(default=False, compare=False)
    groups: frozenset[str] = frozenset()
    is_unjudged: bool = False

    @property
    def kind(self) -> str:
        """The kind of caller, for the log."""
        if self.rejected:
            return "rejected"
        if self.user is not None:
            return "user"
        return "link" if self.link is not None else "anonymous"


ANONYMOUS = Caller()


def is_name(text: str) -> bool:
    """Return whether a user or a group may have this id, or it is empty."""
    return len(text) <= _LONGEST_NAME and (not text or text.isprintable())
