"""Neither an image without the check, nor the check without an image."""

import pytest

from gateway.access.identity import ANONYMOUS, Caller
from gateway.api import app_keys
from gateway.api.authorized_lookup import AuthorizedLookup
from gateway.errors import GatewayError, ImageNotFound, Unauthorized, UnknownStyle
from gateway.urls.resolver import Resolved
from tests.conftest import Images, RunningGateway

ALICE, BOB, ADMIN = Caller("alice"), Caller("bob"), Caller(is_admin=True)
FORGER = Caller(rejected=True)


@pytest.fixture
async def viewing(gateway: RunningGateway, images: Images) -> AuthorizedLookup:
    """Over a public image, alice's private one, and one that is deleted."""
    await images.add("public", owner="alice")
    await images.add("mine", owner="alice", public=False)
    await images.add("deleted", owner="alice", status="deleted")
    return gateway.app[app_keys.AUTHORIZED_LOOKUP]


@pytest.mark.parametrize(
    ("caller", "seen"), [(ANONYMOUS, {"public"}), (BOB, {"public"}), (ADMIN, {"public"}), (ALICE, {"public", "mine"})]
)
async def test_a_warm_image_is_as_closed_as_a_cold_one(
    viewing: AuthorizedLookup, caller: Caller, seen: set[str]
) -> None:
    for _warmth in ("cold", "warm"):
        for image_id in ("public", "mine", "deleted", "nothing"):
            if image_id in seen:
                assert (await viewing.view(caller, image_id)).image.record.image_id == image_id
            else:
                with pytest.raises(ImageNotFound):
                    await viewing.view(caller, image_id)
        await viewing.view(ALICE, "mine")


@pytest.mark.parametrize("image_id", ["mine", "deleted", "nothing"])
async def test_bad_credentials_are_told_so_whether_there_is_an_image_or_not(
    viewing: AuthorizedLookup, image_id: str
) -> None:
    with pytest.raises(Unauthorized):
        await viewing.view(FORGER, image_id)
    with pytest.raises(Unauthorized):
        await viewing.control(FORGER, image_id)
    assert isinstance((await viewing.view_many(FORGER, [image_id]))[image_id], Unauthorized)


async def test_bad_credentials_do_not_close_what_is_open(viewing: AuthorizedLookup) -> None:
    assert (await viewing.view(FORGER, "public")).image.record.public


async def test_many_are_viewed_as_one_by_one(viewing: AuthorizedLookup) -> None:
    results = await viewing.view_many(BOB, ["public", "mine", "deleted", "nothing"])
    assert isinstance(results["public"], Resolved)
    for image_id in ("mine", "deleted", "nothing"):
        assert isinstance(results[image_id], ImageNotFound)
    assert all(isinstance(result, GatewayError | Resolved) for result in results.values())


async def test_an_unknown_style_is_told_before_anything_is_looked_up(viewing: AuthorizedLookup) -> None:
    with pytest.raises(UnknownStyle):
        await viewing.view(BOB, "mine", "thumb")


async def test_control_is_for_the_owner_and_the_admin(viewing: AuthorizedLookup) -> None:
    for caller in (ALICE, ADMIN):
        assert (await viewing.control(caller, "mine")).record.owner == "alice"
    with pytest.raises(ImageNotFound):
        await viewing.control(BOB, "public")
    with pytest.raises(Unauthorized):
        await viewing.control(ANONYMOUS, "public")
    with pytest.raises(ImageNotFound):
        await viewing.control(ADMIN, "nothing")
