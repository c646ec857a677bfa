"""The rights of each caller on an image."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.access.identity import ANONYMOUS, Caller
from gateway.access.policy import check_owner, check_view
from gateway.errors import ImageNotFound, Unauthorized


@dataclass(frozen=True)
class Image:
    """As much of an image as the policy looks at."""

    owner: str | None
    public: bool
    links_killed: int | None = None


PUBLIC = Image("alice", public=True)
PRIVATE = Image("alice", public=False)
NOBODYS = Image(None, public=False)

ALICE = Caller("alice")
BOB = Caller("bob")
REJECTED = Caller(rejected=True)


@pytest.mark.parametrize(
    ("caller", "image", "outcome"),
    [
        (ANONYMOUS, PUBLIC, None),
        (BOB, PUBLIC, None),
        (REJECTED, PUBLIC, None),
        (ALICE, PRIVATE, None),
        (BOB, PRIVATE, ImageNotFound),
        (ANONYMOUS, PRIVATE, ImageNotFound),
        (REJECTED, PRIVATE, Unauthorized),
        (ANONYMOUS, NOBODYS, ImageNotFound),
        (ALICE, NOBODYS, ImageNotFound),
    ],
)
def test_who_may_see_an_image(caller: Caller, image: Image, outcome: type[Exception] | None) -> None:
    if outcome is None:
        check_view(caller, image)
    else:
        with pytest.raises(outcome):
            check_view(caller, image)


@pytest.mark.parametrize(
    ("caller", "image", "outcome"),
    [
        (ALICE, PUBLIC, None),
        (ALICE, PRIVATE, None),
        (BOB, PUBLIC, ImageNotFound),
        (BOB, PRIVATE, ImageNotFound),
        (ANONYMOUS, PUBLIC, Unauthorized),
        (ANONYMOUS, PRIVATE, ImageNotFound),
        (REJECTED, PUBLIC, Unauthorized),
        (REJECTED, PRIVATE, Unauthorized),
    ],
)
def test_who_owns_an_image(caller: Caller, image: Image, outcome: type[Exception] | None) -> None:
    if outcome is None:
        check_owner(caller, image)
    else:
        with pytest.raises(outcome):
            check_owner(caller, image)


@given(
    caller=st.builds(Caller, st.none() | st.sampled_from("ab"), st.booleans()),
    owner=st.none() | st.sampled_from("ab"),
)
def test_a_private_image_is_seen_by_its_owner_alone(caller: Caller, owner: str | None) -> None:
    try:
        check_view(caller, Image(owner, public=False))
    except (ImageNotFound, Unauthorized):
        return
    assert caller.user is not None
    assert caller.user == owner
