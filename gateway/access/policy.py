"""Access policy: who may view an image. Each request ends in ``permit``, cache hit or miss, before anything is sent."""

from collections.abc import Callable
from typing import NamedTuple

from gateway.access.caller import Caller
from gateway.catalog.record import ImageRecord, Viewers
from gateway.errors import GatewayError, ImageNotFound, KeysUnavailable, Unauthorized
from gateway.presign.signer import AuthorizedImage, SignedImage
from gateway.presign.style_variants import Audience, Renditions

# Returns who sent the request. It is called only for what not everybody may view.
Sender = Callable[[], Caller]


class Permission(NamedTuple):
    """The right of a caller to view an image: its reason, and its end in Unix seconds. None: it does not end by time.

    The credentials of the caller may end before it (``Caller.known_until``).
    """

    reason: str
    until: int | None = None


FOR_EVERYBODY = Permission("everybody may view it")
_PUBLIC = Permission("the image is public")
_OWNER = Permission("the caller is the owner")
_LINK = Permission("the link is valid")


def permit(sender: Sender, record: ImageRecord, audience: Audience, now: float) -> Permission:
    """Return the right of the sender to view an image, or a style of it. A new rule about viewing goes here.

    audience: who may view this style, or the original, of this image.
    now: Unix seconds.

    Raises ``Unauthorized`` for bad credentials, else ``ImageNotFound``, which does not reveal that the image exists.
    """
    if audience is Audience.EVERYBODY:
        return FOR_EVERYBODY
    caller = sender()
    permission = _permission(caller, record, now)
    if permission is None:
        raise refusal(caller)
    if audience is Audience.OWNER and not _owns(caller, record):
        raise refusal(caller) if caller.is_unjudged else ImageNotFound("the original is for its owner")
    return permission


def authorize(
    sender: Sender, image: SignedImage, renditions: Renditions, now: float
) -> tuple[AuthorizedImage, Permission]:
    """Return the image as what may be sent, and the sender's right to it. Raises as ``permit`` does."""
    if image.public:  # so ``Renditions.audience`` said when the image was signed
        return AuthorizedImage(image), FOR_EVERYBODY
    audience = renditions.audience(image.rendition, image_is_public=image.record.public)
    return AuthorizedImage(image), permit(sender, image.record, audience, now)


def check_owner(sender: Sender, record: ImageRecord, now: float) -> None:
    """Return if the sender owns the image, and so may share it, renew its URL and see its status.

    Raises as ``permit`` does. For an image that is visible, raises ``Unauthorized`` for an anonymous caller and
    ``ImageNotFound`` for any other.
    """
    caller = sender()
    permit(sender, record, Audience.VIEWERS, now)
    if _owns(caller, record):
        return
    if caller.rejected:
        raise refusal(caller)
    if caller.user is None:
        raise Unauthorized("no credentials")
    raise ImageNotFound("not the caller's")


def authorize_owner(sender: Sender, image: SignedImage, now: float) -> AuthorizedImage:
    """Return the image as what may be sent if the sender owns it. Raises as ``check_owner`` does."""
    check_owner(sender, image.record, now)
    return AuthorizedImage(image)


def refusal(caller: Caller) -> GatewayError:
    """Return the error for an image that is unknown or hidden from ``caller``. The two must not be distinguishable.

    A link that is not valid for the image is a bad credential, whether it is forged, killed, or its image is deleted.
    """
    if caller.is_unjudged:
        return KeysUnavailable(caller.reason)
    if caller.rejected or caller.link is not None:
        return Unauthorized(
            caller.reason or "the link is not valid for the image: forged, killed, or the image is gone"
        )
    return ImageNotFound("unknown, or hidden from the caller")


def _permission(caller: Caller, record: ImageRecord, now: float) -> Permission | None:
    if record.public:
        return _PUBLIC
    if _owns(caller, record):
        return _OWNER
    if caller.link is not None and caller.link.is_valid_for(record.links_killed):
        return _LINK
    return _grant(caller, record.viewers, now) if record.viewers is not None and caller.user is not None else None


def _grant(caller: Caller, viewers: Viewers, now: float) -> Permission | None:
    """Return the longest right that the row or the table of grants gives the user or a group of the user."""
    found: Permission | None = None
    for ends, names, kind in ((viewers.users, (caller.user,), "user"), (viewers.groups, caller.groups, "group")):
        for name in names:
            if name is None or name not in ends:
                continue
            until = ends[name]
            if until is None:
                return Permission(f"by a grant of the {kind} {name}")
            if until > now and (found is None or found.until is None or until > found.until):
                found = Permission(f"by a grant of the {kind} {name}", until)
    return found


def _owns(caller: Caller, record: ImageRecord) -> bool:
    return caller.user is not None and caller.user == record.owner
