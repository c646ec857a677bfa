"""Tencent CDN and EdgeOne as targets: addresses and tags of a purge, and the effect of each answer on the images."""

import json

import pytest

from gateway.presign.credentials import Credentials
from gateway.presign.style_variants import Renditions
from gateway.purge.target import PurgeRefused, Target, TargetUnavailable
from gateway.settings import Live
from gateway_dev.cos_emulator.purge_services import PurgeFault, PurgeLimits
from tests.answering import answering
from tests.purge.tencent import BASE, SECRET_ID, Cloud, cloud_of

# Tencent CDN


async def test_a_purge_names_every_address_of_the_images_once(cloud: Cloud) -> None:
    await cloud.cdn(Live(Renditions({"thumb": "imageMogr2/thumbnail/300x"}))).purge(["a", "b"])
    paths = [f"{path}{query}" for path in ("/i/{}", "/api/v1/images/{}/proxy") for query in ("", "?style=thumb")]
    assert cloud.services.purged == [BASE + path.format(image_id) for image_id in ("a", "b") for path in paths]
    assert len(cloud.services.purges) == 1


async def test_a_request_names_as_many_images_as_have_a_thousand_addresses(cloud: Cloud) -> None:
    target = cloud.cdn(Live(Renditions({f"s{number}": "imageMogr2/strip" for number in range(9)})))
    assert target.most == 50
    await target.purge([f"id-{number}" for number in range(50)])
    assert len(cloud.services.purged) == 1000


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("throttled", "error RequestLimitExceeded"),
        ("day_limit", "error LimitExceeded."),
        ("error", "error InternalError"),
        ("internal_error", "status 500"),
        ("garbage", "the answer is not one of API 3.0"),
        ("hang", "no answer within 5 s"),
    ],
)
async def test_what_is_not_about_the_images_is_for_later(cloud: Cloud, kind: str, reason: str) -> None:
    targets: list[Target] = [cloud.cdn(), cloud.edgeone(by_tag=True)]
    for number, target in enumerate(targets):
        cloud.services.faults.add(PurgeFault.model_validate({"kind": kind}))
        with pytest.raises(TargetUnavailable, match=f"^{reason}"):
            await target.purge(["a"])
        assert len(cloud.services.purges) == number
        await target.purge(["a"])


async def test_the_day_s_limit_is_for_later_and_asked_for_without_purging() -> None:
    async with cloud_of(PurgeLimits(per_day=3)) as cloud:
        await cloud.cdn().purge(["a"])
        with pytest.raises(TargetUnavailable, match="CdnPurgeUrlExceedDayLimit"):
            await cloud.cdn().purge(["b"])
        assert await cloud.cdn().examine() == "addresses left today: 1 of 3 (mainland), 1 of 3 (overseas)"
        assert len(cloud.services.purges) == 1


async def test_a_domain_that_the_account_does_not_have_refuses_no_image(cloud: Cloud) -> None:
    """Every purge would fail for it: nothing may be given up."""
    cloud.services.domains = frozenset({"other.example.com"})
    with pytest.raises(TargetUnavailable, match=r"ResourceNotFound\.CdnHostNotExists"):
        await cloud.cdn().purge(["a"])


async def test_one_bad_address_refuses_the_request(cloud: Cloud) -> None:
    cloud.services.faults.add(PurgeFault(kind="bad_target", target="/i/b", times=None))
    with pytest.raises(PurgeRefused, match=r"InvalidParameter\.CdnParamError") as caught:
        await cloud.cdn().purge(["a", "b"])
    assert caught.value.image_ids is None
    await cloud.cdn().purge(["a"])


async def test_fewer_images_are_named_where_the_account_takes_fewer_addresses() -> None:
    async with cloud_of(PurgeLimits(per_request=6)) as cloud:
        target = cloud.cdn(most_targets=20)
        assert target.most == 10
        with pytest.raises(PurgeRefused):
            await target.purge([f"id-{number}" for number in range(10)])
        assert target.most == 5
        with pytest.raises(PurgeRefused):
            await target.purge([f"id-{number}" for number in range(5)])
        assert target.most == 2
        await target.purge(["id-0", "id-1"])
        assert len(cloud.services.purged) == 4


async def test_an_image_with_too_many_addresses_for_the_account_is_for_later() -> None:
    async with cloud_of(PurgeLimits(per_request=1)) as cloud:
        with pytest.raises(TargetUnavailable, match="BatchLimit"):
            await cloud.cdn().purge(["a"])


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        (Credentials(SECRET_ID, "another"), "error AuthFailure.SignatureFailure"),
        (Credentials("AKIDother", "key"), "error AuthFailure.SecretIdNotFound"),
        (None, "there are no credentials"),
    ],
)
async def test_credentials_that_are_refused_are_for_later_and_refreshed(
    cloud: Cloud, key: Credentials | None, reason: str
) -> None:
    cloud.keys.key = key
    for call in (cloud.cdn().purge(["a"]), cloud.cdn().examine()):
        with pytest.raises(TargetUnavailable, match=reason):
            await call
    assert cloud.keys.refusals == ([key.secret_id] * 2 if key is not None else [])


@pytest.mark.parametrize("answer", [b'{"Response": {}}', b'{"Response": {"UrlPurge": [1, {}]}}'])
async def test_another_answer_about_the_quota_is_no_failure(cloud: Cloud, answer: bytes) -> None:
    async with answering() as service:
        service.body, cloud.services = answer, service  # type: ignore[assignment]  # another service at the address
        assert await cloud.cdn().examine() in {"the service answers", "addresses left today: ? of ? (all)"}


async def test_a_policy_that_allows_no_purge_is_no_reason_for_new_keys(cloud: Cloud) -> None:
    """STS would be asked every time that the worker tries again."""
    async with answering() as service:
        service.body = b'{"Response": {"Error": {"Code": "AuthFailure.UnauthorizedOperation", "Message": "denied"}}}'
        cloud.services = service  # type: ignore[assignment]  # another service at the address
        with pytest.raises(TargetUnavailable, match="UnauthorizedOperation"):
            await cloud.cdn().purge(["a"])
    assert cloud.keys.refusals == []


# EdgeOne


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
        for nothing in (None, [], "text", [1], [{"Reason": "x"}], [{"Reason": "x", "Targets": []}]):
            service.body = json.dumps({"Response": {"JobId": "1", "FailedList": nothing}}).encode()
            await cloud.edgeone(by_tag=True, url=service.url).purge(["a"])
        service.body = json.dumps({"Response": {"JobId": "1", "FailedList": failed}}).encode()
        with pytest.raises(error) as caught:
            await cloud.edgeone(by_tag=True, url=service.url).purge(["a", "b"])
    assert getattr(caught.value, "image_ids", None) == ids
    assert str(caught.value).isprintable()


async def test_the_quota_is_asked_for_without_purging_by_edgeone(cloud: Cloud) -> None:
    await cloud.edgeone(by_tag=True).purge(["a"])
    found = await cloud.edgeone(by_tag=True).examine()
    assert found == "purge_cache_tag targets left today: 9999 of 10000, 1000 in a request"
    async with answering() as service:
        service.body = b'{"Response": {}}'
        assert "names no quota of purge_url" in await cloud.edgeone(url=service.url).examine()
