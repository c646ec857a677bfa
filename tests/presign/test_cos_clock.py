"""Correction of a wrong clock: after one refusal by COS, URLs are valid."""

import asyncio
import logging
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
import yarl

from gateway.presign.url_lifetime import CosClock
from gateway_dev.cos_emulator.access import Credential
from gateway_dev.cos_emulator.server import CosEmulator
from tests.access.credentials import ACCESS, link_query
from tests.conftest import BUCKET, SECRET_ID, SECRET_KEY, Images, RunningGateway, StartGateway
from tests.limits import LIMIT
from tests.processes import run_gateway
from tests.stories.test_credential_sources import ENTRY_KEY, ROLE_ARN, services_of
from tests.waiting import until

HOUR = 3600
DATA = b"bytes of an image"


def clock(offset: float = 0.0) -> CosClock:
    """One that COS has corrected by that much, on a machine where it is 1000."""
    corrected = CosClock(lambda: 1000.0)
    corrected.offset = offset
    return corrected


@pytest.mark.parametrize(
    ("before", "cos_time", "offset"),
    [
        (0, None, 0),  # COS sent no time
        (0, 1029, 0),  # a few seconds are no reason for a refusal
        (0, 1030, 30),
        (0, 970, -30),
        (HOUR, 1000 + HOUR + 29, HOUR),  # it is corrected, and COS refused for another reason
        (HOUR, 1001, 0),  # the machine's clock was put right meanwhile
        (0, 1000 + 25 * HOUR, 0),  # ignored: no clock is that wrong
        (HOUR, 1000 - 25 * HOUR, HOUR),
    ],
)
def test_the_clock_is_corrected_if_cos_s_time_explains_a_refusal(
    before: float, cos_time: float | None, offset: float
) -> None:
    corrected = clock(before)
    assert corrected.refused_at(cos_time) == (offset != before)
    assert corrected.offset == offset
    assert corrected.now() == 1000 + offset


def test_a_verdict_that_goes_back_and_forth_is_logged_every_ten_minutes(caplog: pytest.LogCaptureFixture) -> None:
    uptime = [5.0]
    checked = CosClock(lambda: 1000.0, lambda: uptime[0])
    for _ in range(5):
        checked.observe(1600.0)
        assert checked.observed_offset == 600
        checked.observe(1000.0)
        assert checked.observed_offset == 0
    assert len(caplog.records) == 1
    uptime[0] += 601
    checked.observe(1600.0)
    assert len(caplog.records) == 2


@asynccontextmanager
async def cos_ahead(images: Images, seconds: int) -> AsyncIterator[CosEmulator]:
    """A COS for which this machine is ``seconds`` slow, with the same objects."""
    credentials = {SECRET_ID: Credential(SECRET_KEY)}
    emulator = CosEmulator(
        images.cos.store, credentials, default_bucket=BUCKET, now=lambda: time.time() + seconds, skew_tolerance=5
    )
    async with emulator:
        yield emulator


@pytest.mark.parametrize("slow", [600, 2700])
async def test_a_redirect_is_kept_for_no_longer_than_its_url_lives_by_cos_s_time(
    start_gateway: StartGateway, images: Images, slow: int, caplog: pytest.LogCaptureFixture
) -> None:
    await images.add("cat", DATA)
    async with cos_ahead(images, slow) as cos:
        gateway = await started(start_gateway, cos)

        async def is_observed() -> bool:
            await gateway.service.diagnostics.health.probe_all()
            return abs(gateway.sample("cos_clock_difference_seconds") - slow) < 5

        await until(is_observed)
        await gateway.service.diagnostics.health.probe_all()
        asked_at = time.time()
        answer = await gateway.get("/i/cat?redirect=true")
        ends = int(answer.headers["Location"].partition("q-sign-time=")[2].partition("&")[0].partition("%3B")[2])
        max_age = int(answer.headers["Cache-Control"].rpartition("=")[2])
        assert 0 < max_age <= ends - (asked_at + slow) + 1
        assert abs(gateway.sample("cos_clock_difference_seconds") - slow) < 5
        assert gateway.sample("cos_clock_offset_seconds") == 0, "COS refused nothing, so URLs are signed as before"
    warnings = [record.message for record in caplog.records if "synchronize" in record.message]
    assert len(warnings) == 1, "logged once"
    assert " s slow by that of COS" in warnings[0]


@pytest.mark.usefixtures("links_table")
@pytest.mark.parametrize("slow", [600, -HOUR])
async def test_a_redirect_ends_with_its_link_by_cos_s_time(
    start_gateway: StartGateway, images: Images, slow: int
) -> None:
    await images.add("mine", DATA, owner="alice", public=False)
    async with cos_ahead(images, slow) as cos:
        gateway = await start_gateway(access=ACCESS, cos={"domain": f"127.0.0.1:{cos.port}"})
        link_ends = int(time.time()) + 300
        link = f"/i/mine?{link_query('/i/mine', exp=link_ends)}"
        assert (await gateway.get(link)).status == 200  # COS refuses a URL of a clock that is fast, once
        await until(lambda: abs(gateway.sample("cos_clock_difference_seconds") - slow) < 5, what="its time")
        location = (await gateway.get(f"{link}&redirect=true")).headers["Location"]
        async with gateway.session.get(yarl.URL(location, encoded=True)) as sent:
            assert await sent.read() == DATA
        ends = int(location.partition("q-sign-time=")[2].partition("&")[0].partition("%3B")[2])
        assert abs(ends - (link_ends + slow)) < 5


@pytest.mark.parametrize(
    ("slow", "exit_code", "words"),
    [
        (600, 0, "clock: the clock of this machine is 600 s slow"),
        (2700, 0, "clock: the clock of this machine is 2700 s slow"),
        (3900, 1, "COS refuses the time of the signature: the clock of this machine is 3900 s slow"),
    ],
)
@pytest.mark.usefixtures("forked_commands")
async def test_check_reports_a_slow_clock(
    raw_settings: dict[str, dict[str, Any]],
    images: Images,
    tmp_path: Path,
    slow: int,
    exit_code: int,
    words: str,
) -> None:
    await images.add("cat", DATA)
    async with cos_ahead(images, slow) as cos:
        raw_settings["cos"]["domain"] = f"127.0.0.1:{cos.port}"
        file = tmp_path / "gateway.yaml"
        file.write_text(yaml.safe_dump(raw_settings))
        code, output = await run_gateway("check", "--config", str(file))
    assert code == exit_code
    # The Date of an answer has whole seconds, and a busy machine reads it later.
    assert re.sub(rf"\b({'|'.join(str(slow - late) for late in range(1, 10))})\b", str(slow), output).count(words) == 1
    assert "synchronize it (NTP)" in output
    assert "GetObject" not in output


@pytest.fixture(params=[HOUR, -HOUR], ids=["we-are-late", "we-are-early"])
async def other_cos(request: pytest.FixtureRequest, images: Images) -> AsyncIterator[CosEmulator]:
    """A COS that lives an hour before or after this machine, with the same objects."""
    offset: int = request.param
    credentials = {SECRET_ID: Credential(SECRET_KEY)}
    emulator = CosEmulator(
        images.cos.store, credentials, default_bucket=BUCKET, now=lambda: time.time() + offset, skew_tolerance=5
    )
    async with emulator:
        yield emulator


async def started(start_gateway: StartGateway, cos: CosEmulator, *, listen: bool = False) -> RunningGateway:
    """Start a gateway with empty caches and that COS; ``listen`` to changes of rows."""
    return await start_gateway(
        cos={"domain": f"127.0.0.1:{cos.port}"},
        image_proxy={"memory_cache": {"max_bytes": 0}},
        url_cache={"local_ttl": 0},
        postgres={"listen": listen},
    )


async def test_images_are_served_after_one_refusal(
    start_gateway: StartGateway, images: Images, other_cos: CosEmulator, caplog: pytest.LogCaptureFixture
) -> None:
    gateway = await started(start_gateway, other_cos)
    for image_id in "abc":
        await images.add(image_id, DATA)
    for image_id in "abc":
        answer = await gateway.get(f"/i/{image_id}")
        assert (answer.status, answer.body) == (200, DATA)
    assert gateway.sample("origin_requests_total", status="403") == 1, "the next images' URLs are signed by COS's time"
    offset = gateway.sample("cos_clock_offset_seconds")
    assert abs(abs(offset) - HOUR) < 5
    warnings = [record for record in caplog.records if "synchronize" in record.message]
    assert [record.levelno for record in warnings] == [logging.WARNING], "logged once"


async def test_public_urls_are_valid_and_expire_by_cos_s_time(
    start_gateway: StartGateway, images: Images, other_cos: CosEmulator
) -> None:
    gateway = await started(start_gateway, other_cos)
    await images.add("cat", DATA)
    await gateway.get("/i/cat")  # which COS refuses once
    data = (await gateway.get("/api/v1/images/cat/url")).json()["data"]
    async with aiohttp.ClientSession() as session, session.get(yarl.URL(data["url"], encoded=True)) as answer:
        assert (answer.status, await answer.read()) == (200, DATA)
    cos_now = time.time() + gateway.sample("cos_clock_offset_seconds")
    assert 3000 < data["expires_at"] - cos_now <= 3600
    kept = int((await gateway.get("/i/cat?redirect=true")).headers["Cache-Control"].rpartition("=")[2])
    assert kept > 3000


async def test_urls_signed_before_the_refusal_are_not_used_again(
    start_gateway: StartGateway, images: Images, other_cos: CosEmulator
) -> None:
    gateway = await started(start_gateway, other_cos, listen=True)
    await images.add("cat", DATA)
    await gateway.get("/api/v1/images/cat/url")  # kept in Redis
    for _ in range(3):
        assert (await gateway.get("/i/cat")).status == 200
    assert gateway.sample("origin_requests_total", status="403") == 1
    data = (await gateway.get("/api/v1/images/cat/url")).json()["data"]
    async with aiohttp.ClientSession() as session, session.get(yarl.URL(data["url"], encoded=True)) as answer:
        assert answer.status == 200


@pytest.mark.parametrize("other_cos", [-HOUR], ids=["we-are-early"], indirect=True)
async def test_rows_are_trusted_by_cos_s_time(
    start_gateway: StartGateway, images: Images, other_cos: CosEmulator
) -> None:
    """Rows read since changes are listened to are trusted: by the machine's clock, that would be in an hour."""
    gateway = await started(start_gateway, other_cos, listen=True)
    await images.add("cat", DATA)
    await gateway.get("/i/cat")  # which COS refuses once

    async def queries_for_one_more() -> float:
        before = gateway.sample("catalog_queries_total", result="found")
        assert (await gateway.get("/i/cat")).status == 200
        return gateway.sample("catalog_queries_total", result="found") - before

    async with asyncio.timeout(LIMIT):
        while await queries_for_one_more():
            await asyncio.sleep(0.1)


@pytest.mark.parametrize("other_cos", [600, -600], ids=["we-are-late", "we-are-early"], indirect=True)
async def test_a_role_is_assumed_and_images_are_served_by_the_time_of_sts(
    start_gateway: StartGateway, images: Images, other_cos: CosEmulator, request: pytest.FixtureRequest
) -> None:
    """Without credentials COS is asked for nothing, and cannot correct the clock."""
    await images.add("cat", DATA)
    async with services_of(other_cos, ahead=request.node.callspec.params["other_cos"]) as services:
        assumed = {"source": "assume_role", "role_arn": ROLE_ARN, "sts_url": services.url}
        cos = {"domain": f"127.0.0.1:{other_cos.port}", "credentials": assumed}
        gateway = await start_gateway(cos=cos, redis={"entry_key": ENTRY_KEY})
        assert (await gateway.get("/i/cat")).body == DATA
    assert gateway.sample("origin_requests_total", status="403") == 0
