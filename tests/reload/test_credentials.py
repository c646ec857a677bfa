"""A reload changes the credentials that sign URLs, and their sources."""

import asyncio
import json
import time
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from gateway.errors import ConfigurationRefused
from gateway_dev.cos_emulator.access import Credential
from gateway_dev.cos_emulator.server import CosEmulator
from tests.conftest import Images, RunningGateway, StartGateway
from tests.reload.proofs import proves
from tests.waiting import until

OTHER_ID, OTHER_KEY = "AKIDOTHER", "the-other-secret-key"
BUCKET_2 = "archive-1250000000"
ENTRY_KEY = "an-entry-key-of-at-least-thirty-two-bytes"


async def signer_of(gateway: RunningGateway, image_id: str) -> str:
    """The SecretId in a URL that clients get."""
    url: str = (await gateway.get(f"/api/v1/images/{image_id}/url")).json()["data"]["url"]
    return parse_qs(urlsplit(url).query)["q-ak"][0]


@pytest.fixture
def other_key(cos: CosEmulator) -> None:
    """A second key that COS knows."""
    cos.credentials[OTHER_ID] = Credential(OTHER_KEY)  # type: ignore[index]


@proves("cos.secret_id", "cos.secret_key")
@pytest.mark.usefixtures("other_key")
async def test_the_new_key_signs_at_once_and_urls_of_the_old_one_are_used_until_cos_refuses_them(
    gateway: RunningGateway, images: Images, cos: CosEmulator
) -> None:
    await images.add("a")
    await images.add("b")
    assert (await gateway.get("/i/a")).status == 200
    assert await signer_of(gateway, "a") == "AKIDEXAMPLE"
    await gateway.reload(cos={"secret_id": OTHER_ID, "secret_key": OTHER_KEY})
    assert await signer_of(gateway, "a") == OTHER_ID, "clients get no URL of the old key, not even a kept one"
    assert (await gateway.get("/i/b")).status == 200
    del cos.credentials["AKIDEXAMPLE"]  # type: ignore[attr-defined]
    assert (await gateway.get("/i/a")).status == 200
    assert (await gateway.get("/i/b", headers={"Range": "bytes=0-0"})).status == 206


@proves("cos.token", "cos.token_expires_at")
async def test_a_new_token_is_in_new_urls_and_its_end_is_shown(gateway: RunningGateway, images: Images) -> None:
    end = int(time.time()) + 3000
    images.cos.credentials[OTHER_ID] = Credential(OTHER_KEY, "the-token")  # type: ignore[index]
    new = {"secret_id": OTHER_ID, "secret_key": OTHER_KEY, "token": "the-token", "token_expires_at": end}
    assert (await gateway.request("GET", "/readyz")).json()["checks"].keys() == {"redis", "postgres", "cos", "changes"}
    await gateway.reload(cos=new)
    await images.add("a")
    data = (await gateway.get("/api/v1/images/a/url")).json()["data"]
    assert "x-cos-security-token=the-token" in data["url"]
    assert data["expires_at"] <= end
    assert gateway.sample("credentials_expire_timestamp_seconds", bucket="photos-1250000000") == end
    assert (await gateway.request("GET", "/readyz")).json()["checks"]["credentials"] == "ok"
    await gateway.reload(cos={"secret_id": "AKIDEXAMPLE", "token": None, "token_expires_at": None})
    assert gateway.sample("credentials_expire_timestamp_seconds", bucket="photos-1250000000") == 0
    assert "credentials" not in (await gateway.request("GET", "/readyz")).json()["checks"]


@proves("cos.credentials")
@pytest.mark.usefixtures("other_key")
async def test_another_source_signs_and_the_old_one_is_no_longer_asked(
    start_gateway: StartGateway, images: Images, tmp_path: Path
) -> None:
    gateway = await start_gateway(redis={"entry_key": ENTRY_KEY})
    file = tmp_path / "cos.json"
    file.write_text(json.dumps({"secret_id": OTHER_ID, "secret_key": OTHER_KEY}))
    await gateway.reload(cos={"credentials": {"source": "file", "path": str(file)}})
    await images.add("a")
    assert await signer_of(gateway, "a") == OTHER_ID
    await gateway.reload(cos={"credentials": None})
    assert await signer_of(gateway, "a") == "AKIDEXAMPLE"
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("credentials-")]


@pytest.mark.usefixtures("other_key")
async def test_clients_get_no_url_of_a_key_that_its_source_has_replaced(
    start_gateway: StartGateway, images: Images, tmp_path: Path
) -> None:
    file = tmp_path / "cos.json"
    file.write_text(json.dumps({"secret_id": "AKIDEXAMPLE", "secret_key": "the-secret-key-of-the-emulator"}))
    source = {"source": "file", "path": str(file)}
    gateway = await start_gateway(redis={"entry_key": ENTRY_KEY}, cos={"credentials": source})
    await images.add("a")
    assert await signer_of(gateway, "a") == "AKIDEXAMPLE"
    file.write_text(json.dumps({"secret_id": OTHER_ID, "secret_key": OTHER_KEY}))
    await until(lambda: gateway.sample("credentials_refresh_total", result="refreshed") == 2)
    assert await signer_of(gateway, "a") == OTHER_ID


async def test_a_source_that_gives_nothing_refuses_the_whole_reload(
    start_gateway: StartGateway, images: Images, tmp_path: Path
) -> None:
    gateway = await start_gateway(redis={"entry_key": ENTRY_KEY})
    missing = {"source": "file", "path": str(tmp_path / "missing.json")}
    with pytest.raises(ConfigurationRefused, match=r"cos\.credentials: the source file gives none"):
        await gateway.reload(cos={"credentials": missing}, image_proxy={"max_age": 5})
    await images.add("a")
    assert await signer_of(gateway, "a") == "AKIDEXAMPLE"
    assert "max-age=3600," in (await gateway.get("/i/a")).headers["Cache-Control"]
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("credentials-")]


@proves("cos.buckets.*.credentials")
@pytest.mark.usefixtures("other_key")
async def test_a_bucket_gets_credentials_of_its_own(start_gateway: StartGateway, images: Images) -> None:
    static = {"source": "static", "secret_id": "AKIDEXAMPLE", "secret_key": "the-secret-key-of-the-emulator"}
    gateway = await start_gateway(cos={"buckets": {BUCKET_2: {"credentials": static}}})
    other = {"source": "static", "secret_id": OTHER_ID, "secret_key": OTHER_KEY}
    result = await gateway.reload(cos={"buckets": {BUCKET_2: {"credentials": other}}})
    assert result.changed == (f"cos.buckets.{BUCKET_2}.credentials",)
    await images.add("a")
    await images.execute("UPDATE images SET cos_bucket = %s WHERE id = 'a'", (BUCKET_2,))
    assert await signer_of(gateway, "a") == OTHER_ID
    result = await gateway.reload(cos={"buckets": {}})
    assert result.need_restart == ("cos.buckets",)
