"""Access policy: checked on every request, cache hit or miss, before anything is sent."""

from gateway.access.caller import Caller
from gateway.catalog.record import ImageRecord
from gateway.errors import GatewayError, ImageNotFound, KeysUnavailable, Unauthorized


def check_view(caller: Caller, image: ImageRecord) -> None:
    """Return if ``caller`` may view the image.

    Raises ``Unauthorized`` for bad credentials, else ``ImageNotFound``, which does not reveal that the image exists.
    """
    if not may_view(caller, image):
        raise refusal(caller)


def may_view(caller: Caller, image: ImageRecord) -> bool:
    """Return whether ``caller`` may view the image."""
    if image.public or _owns(caller, image):
        return True
    return caller.link is not None and caller.link.is_valid_for(image.links_killed)


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


def check_owner(caller: Caller, image: ImageRecord) -> None:
    """Return if ``caller`` owns the image, and so may share it, renew its URL and see its status.

    Raises as ``check_view`` does. For a visible image, raises ``Unauthorized`` for an anonymous caller and
    ``ImageNotFound`` for any other.
    """
    if _owns(caller, image):
        return
    check_view(caller, image)
    if caller.rejected:
        raise refusal(caller)
    if caller.user is None:
        raise Unauthorized("no credentials")
    raise ImageNotFound("not the caller's")


def check_original(caller: Caller, image: ImageRecord) -> None:
    """Return if ``caller``, who may view the image, may get its original while only owners get originals."""
    if not _owns(caller, image):
        raise ImageNotFound("the original is for its owner")


def _owns(caller: Caller, image: ImageRecord) -> bool:
    return caller.user is not None and caller.user == image.owner
