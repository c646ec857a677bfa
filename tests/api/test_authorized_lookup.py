"""Authorized look-up: no image without the access check."""

from typing import TYPE_CHECKING

from gateway.objects.content import Content
from gateway.objects.object_source import ObjectSource
from gateway.origin.origin_response import ObjectMetadata
from gateway.presign.public_url import PublicUrls
from gateway.presign.signer import SignedImage
from tests.conftest import Images, RunningGateway, token_for

ALICE, BOB, FORGER = token_for("alice"), token_for("bob"), "for.ged.token"


CALLS = (
    (ALICE, "mine", 200),
    (BOB, "mine", 404),
    (BOB, "public", 404),
    (None, "mine", 404),
    (None, "public", 401),
    *((FORGER, image_id, 401) for image_id in ("mine", "public", "deleted", "nothing")),
    *((ALICE, image_id, 404) for image_id in ("deleted", "nothing")),
)


async def test_control_is_for_the_owner_whether_the_image_is_cached_or_not(
    gateway: RunningGateway, images: Images
) -> None:
    await images.add("public", owner="alice")
    await images.add("mine", owner="alice", public=False)
    await images.add("deleted", owner="alice", status="deleted")
    for state in ("cold", "warm"):
        for bearer, image_id, status in CALLS:
            headers = {"Authorization": f"Bearer {bearer}"} if bearer is not None else {}
            answer = await gateway.get(f"/api/v1/images/{image_id}/status", headers=headers)
            assert answer.status == status, (state, bearer, image_id)
        for image_id in ("public", "mine"):
            assert (await gateway.get(f"/i/{image_id}", user="alice")).status == 200


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
