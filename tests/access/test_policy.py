"""The rights of each caller on an image."""

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.access.caller import ANONYMOUS, Caller
from gateway.access.policy import check_owner, permit
from gateway.catalog.record import ImageRecord
from gateway.errors import ImageNotFound, Unauthorized
from gateway.presign.style_variants import Audience

IMAGE = partial(ImageRecord, "cat", bucket="b-1250000000", region="ap-guangzhou", key="cat.png", content_type=None)
PUBLIC = IMAGE(owner="alice", public=True)
PRIVATE = IMAGE(owner="alice", public=False)
NOBODYS = IMAGE(owner=None, public=False)

ALICE = Caller("alice")
BOB = Caller("bob")
REJECTED = Caller(rejected=True)
NOW = 1_700_000_000.0


def check_view(caller: Caller, image: ImageRecord) -> None:
    audience = Audience.EVERYBODY if image.public else Audience.VIEWERS
    permit(lambda: caller, image, audience, NOW)


def check_original(caller: Caller, image: ImageRecord) -> None:
    """Check the original where it is for owners alone."""
    permit(lambda: caller, image, Audience.OWNER, NOW)


def check_control(caller: Caller, image: ImageRecord) -> None:
    check_owner(lambda: caller, image, NOW)


@pytest.mark.parametrize(
    ("check", "caller", "image", "outcome"),
    [
        (check_view, ANONYMOUS, PUBLIC, None),
        (check_view, BOB, PUBLIC, None),
        (check_view, REJECTED, PUBLIC, None),
        (check_view, ALICE, PRIVATE, None),
        (check_view, BOB, PRIVATE, ImageNotFound),
        (check_view, ANONYMOUS, PRIVATE, ImageNotFound),
        (check_view, REJECTED, PRIVATE, Unauthorized),
        (check_view, ANONYMOUS, NOBODYS, ImageNotFound),
        (check_view, ALICE, NOBODYS, ImageNotFound),
        (check_control, ALICE, PUBLIC, None),
        (check_control, ALICE, PRIVATE, None),
        (check_control, BOB, PUBLIC, ImageNotFound),
        (check_control, BOB, PRIVATE, ImageNotFound),
        (check_control, ANONYMOUS, PUBLIC, Unauthorized),
        (check_control, ANONYMOUS, PRIVATE, ImageNotFound),
        (check_control, REJECTED, PUBLIC, Unauthorized),
        (check_control, REJECTED, PRIVATE, Unauthorized),
        (check_original, ALICE, PUBLIC, None),
        (check_original, BOB, PUBLIC, ImageNotFound),
        (check_original, ANONYMOUS, PUBLIC, ImageNotFound),
        (check_original, ANONYMOUS, NOBODYS, ImageNotFound),
    ],
)
def test_who_may_see_and_who_owns_an_image(
    check: Callable[[Caller, ImageRecord], None], caller: Caller, image: ImageRecord, outcome: type[Exception] | None
) -> None:
    with nullcontext() if outcome is None else pytest.raises(outcome):
        check(caller, image)


@given(
    caller=st.builds(Caller, st.none() | st.sampled_from("ab"), st.booleans()),
    owner=st.none() | st.sampled_from("ab"),
)
def test_a_private_image_is_seen_by_its_owner_alone(caller: Caller, owner: str | None) -> None:
    try:
        check_view(caller, IMAGE(owner=owner, public=False))
    except (ImageNotFound, Unauthorized):
        return
    assert caller.user is not None
    assert caller.user == owner
