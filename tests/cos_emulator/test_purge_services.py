"""The services that purge, asked by Tencent's own SDK: signatures, limits and faults."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tencentcloud.common.common_client import CommonClient
from tencentcloud.common.credential import Credential as SdkCredential
from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException
from tencentcloud.common.profile.client_profile import ClientProfile
from tencentcloud.common.profile.http_profile import HttpProfile

from gateway_dev.cos_emulator.access import Credential
from gateway_dev.cos_emulator.purge_services import PurgeLimits, PurgeServices

from .conftest import SECRET_ID, SECRET_KEY

# The SDK reads the clock by a function that Python 3.12 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:datetime.datetime.utcfromtimestamp:DeprecationWarning")

URL = "https://img.example.com/i/a"
CDN, EDGEONE = ("cdn", "2018-06-06"), ("teo", "2022-09-01")
TAGS = {"ZoneId": "zone-emulator", "Type": "purge_cache_tag"}


@pytest.fixture
async def services() -> AsyncIterator[PurgeServices]:
    """Services that take 3 targets a request and 5 a day."""
    limits = PurgeLimits(per_request=3, per_second=4, per_day=5)
    async with PurgeServices(
        {SECRET_ID: Credential(SECRET_KEY)}, frozenset({"img.example.com"}), limits=limits
    ) as services:
        yield services


async def call(
    services: PurgeServices, service: tuple[str, str], action: str, parameters: dict[str, Any], key: str = SECRET_KEY
) -> Any:
    """Return the response to an action, called by the SDK."""
    host = services.url.removeprefix("http://")
    profile = ClientProfile(httpProfile=HttpProfile(endpoint=host, protocol="http", reqTimeout=2))
    client = CommonClient(*service, SdkCredential(SECRET_ID, key), "", profile)
    return (await asyncio.to_thread(client.call_json, action, parameters))["Response"]


async def test_addresses_and_tags_are_purged_and_counted(services: PurgeServices) -> None:
    assert (await call(services, CDN, "PurgeUrlsCache", {"Urls": [URL]}))["TaskId"]
    answer = await call(services, EDGEONE, "CreatePurgeTask", {**TAGS, "Targets": ["image-a", "image-b"]})
    assert answer["JobId"]
    assert answer["FailedList"] is None
    assert services.purged == [URL, "image-a", "image-b"]
    quota = await call(services, CDN, "DescribePurgeQuota", {})
    assert quota["UrlPurge"][0] == {"Area": "mainland", "Batch": 3, "Total": 5, "Available": 4}
    quotas = await call(services, EDGEONE, "DescribeContentQuota", {"ZoneId": "zone-emulator"})
    assert [quota["DailyAvailable"] for quota in quotas["PurgeQuota"]] == [5, 3]


async def test_the_limits_of_a_second_and_of_a_day_are_kept(services: PurgeServices) -> None:
    now = time.time()
    services.now = lambda: now
    for number in range(4):
        await call(services, CDN, "PurgeUrlsCache", {"Urls": [f"{URL}-{number}"]})
    with pytest.raises(TencentCloudSDKException) as caught:
        await call(services, CDN, "PurgeUrlsCache", {"Urls": [URL]})
    assert caught.value.get_code() == "RequestLimitExceeded"
    now += 1
    with pytest.raises(TencentCloudSDKException) as caught:
        await call(services, CDN, "PurgeUrlsCache", {"Urls": [URL, URL + "-5"]})
    assert caught.value.get_code() == "LimitExceeded.CdnPurgeUrlExceedDayLimit"
    await call(services, CDN, "PurgeUrlsCache", {"Urls": [URL]})
    assert len(services.purged) == 5
