"""Who may do what with an image. Checked on every request, on a cache hit as on a miss, before anything is sent."""

from typing import Protocol

from gateway.access.identity import Caller
from gateway.errors import ImageNotFound, Unauthorized


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


def check_view(caller: Caller, image: Ownable) -> None:
    """Return if ``caller`` may see the image.

    Raises ``Unauthorized`` for bad credentials, else ``ImageNotFound``: whoever may not see an image does not learn
    that there is one.
    """
    if image.public or _owns(caller, image):
        return
    caller.require_valid()
    raise ImageNotFound("not the caller's")


def check_control(caller: Caller, image: Ownable) -> None:
    """Return if ``caller`` may renew the image's URL and see its state: its owner, or the admin.

    Raises as ``check_view`` does; ``Unauthorized`` for somebody unknown at an image that everybody may see, and
    ``ImageNotFound`` for anybody else.
    """
    if caller.is_admin or _owns(caller, image):
        return
    check_view(caller, image)
    caller.require_valid()
    if caller.user is None:
        raise Unauthorized
    raise ImageNotFound("not the caller's")


def _owns(caller: Caller, image: Ownable) -> bool:
    return caller.user is not None and caller.user == image.owner
