"""Buckets with their own domains, credentials and failures."""

import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway_dev.cos_emulator.credential_services import CredentialFault, CredentialServices, TokenIssuer
from gateway_dev.cos_emulator.server import CosEmulator
from gateway_dev.cos_emulator.store import ObjectStore
from gateway_dev.database import ImageRow
from tests.conftest import BUCKET, Images, RunningGateway, StartGateway
from tests.stories.test_credential_sources import ENTRY_KEY
from tests.waiting import until, until_ready

OTHER = "other-1250000000"


@pytest.fixture
async def services() -> AsyncIterator[CredentialServices]:
    """The credentials of the other bucket, which the default bucket does not know."""
    async with CredentialServices(TokenIssuer({})) as services:
        yield services


@pytest.fixture
async def other(services: CredentialServices) -> AsyncIterator[CosEmulator]:
    """Another bucket, at another address."""
    store = ObjectStore()
    store.create_bucket(OTHER)
    async with CosEmulator(store, services.issuer.credentials, default_bucket=OTHER) as emulator:
        yield emulator


def with_other(other: CosEmulator, services: CredentialServices) -> dict[str, dict[str, Any]]:
    """Return the sections of a gateway with both buckets."""
    credentials = {"source": "cvm_role", "metadata_url": services.url}
    bucket = {"region": "eu-frankfurt", "domain": f"127.0.0.1:{other.port}", "credentials": credentials}
    return {"cos": {"buckets": {OTHER: bucket}}, "redis": {"entry_key": ENTRY_KEY}}


async def add(images: Images, other: CosEmulator, image_id: str) -> None:
    """Add an image to the other bucket; its row names no region."""
    other.store.put(OTHER, f"{image_id}.png", b"of the other bucket", content_type="image/png")
    await images.add_row(ImageRow(image_id, None, f"{image_id}.png", OTHER, content_type="image/png", public=True))


async def assert_no_url_of_the_other(gateway: RunningGateway) -> None:
    """Check that a batch gives the URL of the default bucket, and the error of the other one."""
    batch = await gateway.request("POST", "/api/v1/images/urls", json={"image_ids": ["here", "there"]})
    data = batch.json()["data"]
    assert (list(data["urls"]), data["errors"]) == (["here"], {"there": "credentials_expired"})


async def test_each_bucket_has_its_own_address_and_credentials(
    start_gateway: StartGateway, images: Images, other: CosEmulator, services: CredentialServices
) -> None:
    gateway = await start_gateway(**with_other(other, services))
    await images.add("here", b"of the default bucket")
    await add(images, other, "there")
    assert (await gateway.get("/i/here")).body == b"of the default bucket"
    assert (await gateway.get("/i/there")).body == b"of the other bucket"
    assert gateway.sample("credentials_expire_timestamp_seconds", bucket=OTHER) > time.time()
    assert (
        gateway.registry.get_sample_value("image_gateway_credentials_expire_timestamp_seconds", {"bucket": BUCKET})
        is None
    )
    await until_ready(gateway.ports.public)
    report = (await gateway.get("/readyz")).json()
    assert report == {
        "status": "ready",
        "checks": dict.fromkeys(("postgres", "cos", "redis", "credentials", "changes"), "ok"),
    }
    assert [gateway.sample("dependency_up", dependency=f"cos:{bucket}") for bucket in (BUCKET, OTHER)] == [1, 1]


async def test_credentials_of_one_bucket_that_end_leave_the_other_alone(
    start_gateway: StartGateway, images: Images, other: CosEmulator, services: CredentialServices
) -> None:
    services.faults.add(CredentialFault(kind="garbage", times=None))
    gateway = await start_gateway(**with_other(other, services))
    await images.add("here", b"body")
    await add(images, other, "there")
    assert (await gateway.get("/i/there")).json()["code"] == "credentials_expired"
    assert (await gateway.get("/i/here")).status == 200
    await assert_no_url_of_the_other(gateway)
    services.faults.clear()

    async def is_served() -> bool:
        return (await gateway.get("/i/there")).status == 200

    await until(is_served)


async def test_a_batch_gives_no_url_of_a_bucket_without_credentials_here_though_another_gateway_has_cached_it(
    start_gateway: StartGateway, images: Images, other: CosEmulator, services: CredentialServices
) -> None:
    with_credentials = await start_gateway(**with_other(other, services))
    await images.add("here")
    await add(images, other, "there")
    assert (await with_credentials.get("/i/there")).status == 200
    services.faults.add(CredentialFault(kind="garbage", times=None))
    await assert_no_url_of_the_other(await start_gateway(**with_other(other, services)))
