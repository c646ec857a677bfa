"""EdgeOne as a target: by address and by tag, and the effect of a list of failed targets on the images."""

import json

import pytest

from gateway.presign.renditions import Renditions
from gateway.purge.addresses import Addresses
from gateway.purge.edgeone import EdgeOne
from gateway.purge.target import PurgeRefused, TargetUnavailable
from gateway.purge.tencent_service import TencentService
from gateway.tencent_api.client import TencentApi
from gateway_dev.cos_emulator.purge_services import PurgeFault, PurgeLimits
from tests.answering import answering
from tests.purge.tencent import BASE, Cloud, cloud_of


async def test_addresses_or_tags_are_purged(cloud: Cloud) -> None:
    assert (cloud.edgeone().most, cloud.edgeone(by_tag=True).most) == (500, 1000)
    await cloud.edgeone().purge(["a"])
    await cloud.edgeone(by_tag=True).purge(["a", "b:1@2"])
    assert [(purge.kind, list(purge.targets)) for purge in cloud.services.purges] == [
        ("purge_url", [f"{BASE}/i/a", f"{BASE}/api/v1/images/a/proxy"]),
        ("purge_cache_tag", ["image-a", "image-b:1@2"]),
    ]


@pytest.mark.parametrize("by_tag", [True, False])
async def test_a_failed_target_refuses_its_image_alone(cloud: Cloud, *, by_tag: bool) -> None:
    cloud.services.faults.add(PurgeFault(kind="bad_target", target="image-b" if by_tag else "/i/b", times=None))
    with pytest.raises(PurgeRefused, match=r"The target is invalid\.") as caught:
        await cloud.edgeone(by_tag=by_tag).purge(["a", "b", "c"])
    assert caught.value.image_ids == {"b"}
    assert len(cloud.services.purged) == (2 if by_tag else 5)


@pytest.mark.parametrize("kind", ["throttled", "day_limit", "error", "internal_error", "garbage", "hang"])
async def test_what_is_not_about_the_images_is_for_later(cloud: Cloud, kind: str) -> None:
    cloud.services.faults.add(PurgeFault.model_validate({"kind": kind}))
    with pytest.raises(TargetUnavailable):
        await cloud.edgeone(by_tag=True).purge(["a"])
    await cloud.edgeone(by_tag=True).purge(["a"])


async def test_another_site_refuses_no_image(cloud: Cloud) -> None:
    target = cloud.edgeone()
    cloud.services.zone = "zone-other"
    for call in (target.purge(["a"]), target.examine()):
        with pytest.raises(TargetUnavailable, match=r"InvalidParameter\.ZoneNotFound"):
            await call


async def test_fewer_images_are_named_where_the_plan_takes_fewer_tags() -> None:
    async with cloud_of(PurgeLimits(per_request=100)) as cloud:
        target, ids = cloud.edgeone(by_tag=True), [f"id-{number}" for number in range(1000)]
        while target.most > 100:
            with pytest.raises(PurgeRefused):
                await target.purge(ids[: target.most])
        await target.purge(ids[: target.most])
        assert len(cloud.services.purged) == target.most == 62


@pytest.mark.parametrize(
    ("failed", "error", "ids"),
    [
        ([{"Reason": "Daily quota exceeded", "Targets": ["image-a"]}], TargetUnavailable, None),
        ([{"Reason": "bad\n\x1b[31m", "Targets": ["image-a"]}], PurgeRefused, {"a"}),
        ([{"Reason": "bad", "Targets": ["something else"]}], PurgeRefused, None),
        ([{"Targets": ["image-a", 7]}], PurgeRefused, {"a"}),
    ],
)
async def test_reasons_are_read_with_care(
    cloud: Cloud, failed: object, error: type[Exception], ids: set[str] | None
) -> None:
    async with answering() as service:
        service.body = json.dumps({"Response": {"JobId": "1", "FailedList": failed}}).encode()
        target = edgeone_at(cloud, service.url)
        with pytest.raises(error) as caught:
            await target.purge(["a", "b"])
    assert getattr(caught.value, "image_ids", None) == ids
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("failed", [None, [], "text", [1], [{"Reason": "x"}], [{"Reason": "x", "Targets": []}]])
async def test_no_failed_target_is_a_success(cloud: Cloud, failed: object) -> None:
    async with answering() as service:
        service.body = json.dumps({"Response": {"JobId": "1", "FailedList": failed}}).encode()
        await edgeone_at(cloud, service.url).purge(["a"])
        assert len(service.seen) == 1


async def test_the_quota_is_asked_for_without_purging(cloud: Cloud) -> None:
    await cloud.edgeone(by_tag=True).purge(["a"])
    found = await cloud.edgeone(by_tag=True).examine()
    assert found == "purge_cache_tag targets left today: 9999 of 10000, 1000 in a request"
    async with answering() as service:
        service.body = b'{"Response": {}}'
        assert "names no quota of purge_url" in await edgeone_at(cloud, service.url, by_tag=False).examine()


def edgeone_at(cloud: Cloud, url: str, *, by_tag: bool = True) -> EdgeOne:
    """Return EdgeOne at that address."""
    api = TencentApi(cloud.http, url, service="teo", version="2022-09-01")
    addresses = None if by_tag else Addresses((BASE,), Renditions({}))
    return EdgeOne(TencentService(api, cloud.keys.source, 1000), "zone-1", addresses)
