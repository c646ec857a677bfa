"""Authorized look-up: no image without the access check."""

from typing import TYPE_CHECKING

import pytest

from gateway.access.identity import ANONYMOUS, Caller
from gateway.api.authorized_lookup import AuthorizedLookup
from gateway.errors import GatewayError, ImageNotFound, Unauthorized
from gateway.objects.content import Content
from gateway.objects.object_source import ObjectSource
from gateway.origin.origin_response import ObjectMetadata
from gateway.presign.public_url import PublicUrls
from gateway.presign.signed_image import AuthorizedImage, SignedImage
from gateway.urls.resolver import Resolved
from tests.conftest import Images, RunningGateway

ALICE, BOB = Caller("alice"), Caller("bob")
FORGER = Caller(rejected=True)


@pytest.fixture
async def lookup(gateway: RunningGateway, images: Images) -> AuthorizedLookup:
    """Look-up over a public image, alice's private one, and a deleted one."""
    await images.add("public", owner="alice")
    await images.add("mine", owner="alice", public=False)
    await images.add("deleted", owner="alice", status="deleted")
    return gateway.service.images.lookup


async def view(lookup: AuthorizedLookup, caller: Caller, image_id: str) -> Resolved[AuthorizedImage]:
    """Return the image; raises the error instead of it."""
    result = (await lookup.view_many(caller, [image_id]))[image_id]
    if isinstance(result, GatewayError):
        raise result
    return result


@pytest.mark.parametrize(
    ("caller", "visible"),
    [(ANONYMOUS, {"public"}), (BOB, {"public"}), (ALICE, {"public", "mine"})],
)
async def test_access_is_the_same_for_cached_and_uncached_images(
    lookup: AuthorizedLookup, caller: Caller, visible: set[str]
) -> None:
    for _state in ("cold", "warm"):
        for image_id in ("public", "mine", "deleted", "nothing"):
            if image_id in visible:
                assert (await view(lookup, caller, image_id)).image.record.image_id == image_id
            else:
                with pytest.raises(ImageNotFound):
                    await view(lookup, caller, image_id)
        await view(lookup, ALICE, "mine")


@pytest.mark.parametrize("image_id", ["mine", "deleted", "nothing"])
async def test_bad_credentials_are_unauthorized_whether_the_image_exists_or_not(
    lookup: AuthorizedLookup, image_id: str
) -> None:
    with pytest.raises(Unauthorized):
        await view(lookup, FORGER, image_id)
    with pytest.raises(Unauthorized):
        await lookup.own(FORGER, image_id)
    assert isinstance((await lookup.view_many(FORGER, [image_id]))[image_id], Unauthorized)


async def test_bad_credentials_do_not_hide_public_images(lookup: AuthorizedLookup) -> None:
    assert (await view(lookup, FORGER, "public")).image.record.public


async def test_view_many_has_a_result_for_each_image(lookup: AuthorizedLookup) -> None:
    results = await lookup.view_many(BOB, ["public", "mine", "deleted", "nothing"])
    assert isinstance(results["public"], Resolved)
    for image_id in ("mine", "deleted", "nothing"):
        assert isinstance(results[image_id], ImageNotFound)
    assert all(isinstance(result, GatewayError | Resolved) for result in results.values())


async def test_control_is_for_the_owner(lookup: AuthorizedLookup) -> None:
    assert (await lookup.own(ALICE, "mine")).record.owner == "alice"
    with pytest.raises(ImageNotFound):
        await lookup.own(BOB, "public")
    with pytest.raises(Unauthorized):
        await lookup.own(ANONYMOUS, "public")


if TYPE_CHECKING:

    async def exits_without_a_check(
        image: SignedImage, metadata: ObjectMetadata, source: ObjectSource, urls: PublicUrls
    ) -> None:
        """Exits that send what a renewal or the resolver returned: mypy fails unless each line has its error."""
        source.memory.content(image)  # type: ignore[arg-type]
        await source.from_cos(image, {}, is_head=False)  # type: ignore[arg-type]
        await source.head(image)  # type: ignore[arg-type]
        await source.whole(image)  # type: ignore[arg-type]
        Content(image, metadata)  # type: ignore[arg-type]
        urls.presign(image)  # type: ignore[arg-type]
