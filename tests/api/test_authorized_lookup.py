"""Authorized look-up: no image without the access check."""

from typing import TYPE_CHECKING

import pytest

from gateway.objects.content import Content
from gateway.objects.object_source import ObjectSource
from gateway.origin.origin_response import ObjectMetadata
from gateway.presign.public_url import PublicUrls
from gateway.presign.signed_image import SignedImage
from tests.conftest import Images, RunningGateway, token_for

ALICE, BOB, FORGER = token_for("alice"), token_for("bob"), "for.ged.token"


@pytest.mark.parametrize(
    ("bearer", "image_id", "status"),
    [
        (ALICE, "mine", 200),
        (BOB, "mine", 404),
        (BOB, "public", 404),
        (None, "mine", 404),
        (None, "public", 401),
        *((FORGER, image_id, 401) for image_id in ("mine", "public", "deleted", "nothing")),
        *((ALICE, image_id, 404) for image_id in ("deleted", "nothing")),
    ],
)
async def test_control_is_for_the_owner(
    gateway: RunningGateway, images: Images, bearer: str | None, image_id: str, status: int
) -> None:
    """Whether the image is cached or not."""
    await images.add("public", owner="alice")
    await images.add("mine", owner="alice", public=False)
    await images.add("deleted", owner="alice", status="deleted")
    headers = {"Authorization": f"Bearer {bearer}"} if bearer is not None else {}
    for _state in ("cold", "warm"):
        answer = await gateway.get(f"/api/v1/images/{image_id}/status", headers=headers)
        assert answer.status == status
        await gateway.get(f"/i/{image_id}", user="alice")


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
