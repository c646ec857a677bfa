"""Who may do what with an image. Checked on every request, on a cache hit as on a miss, before anything is sent."""

from typing import Protocol

from gateway.access.identity import Caller
from gateway.errors import GatewayError, ImageNotFound, Unauthorized


class Ownable(Protocol):
    """What the policy has to know of an image."""

    @property
    def owner(self) -> str | None:
        """The owner's user id; None when nobody owns it."""
        ...

    @property
    def public(self) -> bool:
        """Whether everybody may see it."""
        ...

    @property
    def links_killed(self) -> int | None:
        """How often all signed links to it have been killed; None when that is not known."""
        ...


def check_view(caller: Caller, image: Ownable) -> None:
    """Return if ``caller`` may see the image.

    Raises ``Unauthorized`` for bad credentials, else ``ImageNotFound``: whoever may not see an image does not learn
    that there is one.
    """
    if image.public or _owns(caller, image):
        return
    if caller.link is not None and caller.link.opens(image.links_killed):
        return
    raise refusal(caller)


def refusal(caller: Caller) -> GatewayError:
    """What ``caller`` hears of an image that is not there for him, whether there is one or not.

    A link that does not open it is a bad credential: forged, killed, and outlived by its image are one answer.
    """
    if caller.rejected or caller.link is not None:
        return Unauthorized()
    return ImageNotFound("not there for the caller")


def check_control(caller: Caller, image: Ownable) -> None:
    """Return if ``caller`` may renew the image's URL, see its state and kill its links: its owner, or the admin.

    Raises as ``check_owner`` does.
    """
    if not caller.is_admin:
        check_owner(caller, image)


def check_owner(caller: Caller, image: Ownable) -> None:
    """Return if ``caller`` owns the image, and so may show it to others. The admin runs the gateway, he owns nothing.

    Raises as ``check_view`` does; ``Unauthorized`` for somebody unknown at an image that he may see, and
    ``ImageNotFound`` for anybody else.
    """
    if _owns(caller, image):
        return
    check_view(caller, image)
    caller.require_valid()
    if caller.user is None and not caller.is_admin:
        raise Unauthorized
    raise ImageNotFound("not the caller's")


def _owns(caller: Caller, image: Ownable) -> bool:
    return caller.user is not None and caller.user == image.owner
