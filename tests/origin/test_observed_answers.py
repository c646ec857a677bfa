"""What ordinary answers of COS show: its time, and errors by bucket and code."""

import time
from collections.abc import Mapping
from email.utils import formatdate

import pytest

from gateway.origin.client import ObservedAnswers
from gateway.origin.cos_errors import CosError
from gateway.service.metrics import Metrics
from gateway_dev.cos_emulator.access import Credential
from gateway_dev.cos_emulator.server import CosEmulator
from tests.conftest import BUCKET, SECRET_ID, SECRET_KEY, Images, StartGateway
from tests.waiting import until

NOW = 1_700_000_000


def dated(difference: int, **more: str) -> dict[str, str]:
    """Header fields of a server whose clock differs by so many seconds."""
    return {"Date": formatdate(NOW + difference, usegmt=True), **more}


@pytest.mark.parametrize(
    ("answers", "observed"),
    [
        ({"a": dated(600)}, 603),
        ({"a": dated(600), "b": dated(601)}, 603),
        ({"a": dated(600), "b": dated(-2)}, 1),  # one server disagrees, so it is wrong and not this machine
        ({"a": dated(-600, Age="590")}, None),  # a CDN answered from its cache
        ({"a": dated(-600, Age="590"), "b": dated(-600)}, -597),
        ({"a": {"Date": "yesterday"}, "b": {}}, None),
        ({}, None),
    ],
)
def test_the_time_is_that_of_the_answer_nearest_to_ours(
    answers: Mapping[str, Mapping[str, str]], observed: int | None
) -> None:
    answered = ObservedAnswers(Metrics().origin)
    before = time.monotonic()
    for bucket, headers in answers.items():
        answered.answered(bucket, 200, headers)
    passed = time.monotonic() - before
    found = answered.cos_time(now=lambda: NOW, monotonic=lambda: before + 3)
    expected = None if observed is None else pytest.approx(NOW + observed, abs=passed + 0.01)
    assert found == expected, "three seconds after the answer"
    assert answered.cos_time() is None, "an answer is looked at once"


@pytest.mark.parametrize("slow", [600, -600])
async def test_ordinary_images_show_that_the_clock_is_wrong(
    start_gateway: StartGateway, images: Images, slow: int, caplog: pytest.LogCaptureFixture
) -> None:
    await images.add("cat")
    elsewhen = CosEmulator(
        images.cos.store,
        {SECRET_ID: Credential(SECRET_KEY)},
        default_bucket=BUCKET,
        now=lambda: time.time() + slow,
        skew_tolerance=700,  # so that nothing is refused
    )
    async with elsewhen as cos:
        gateway = await start_gateway(cos={"domain": f"127.0.0.1:{cos.port}"}, url_cache={"enabled": False})
        assert (await gateway.get("/i/cat")).status == 200
        await until(lambda: abs(gateway.sample("cos_clock_difference_seconds") - slow) < 5, what="the difference")
        assert [request.method for request in cos.request_log.requests] == ["GET"], "no probe has asked yet"
    warnings = [record.message for record in caplog.records if "synchronize" in record.message]
    assert len(warnings) == 1
    assert f" s {'slow' if slow > 0 else 'fast'} by that of COS" in warnings[0]


async def test_each_bucket_has_one_answer_to_look_at(start_gateway: StartGateway, images: Images) -> None:
    """So nothing of it grows with requests, whether or not anybody looks."""
    gateway = await start_gateway()
    for number in range(5):
        await images.add(f"cat-{number}")
        assert (await gateway.get(f"/i/cat-{number}")).status == 200
        assert len(gateway.service.images.origin.observed._dated) <= 1


def test_labels_of_the_metric_are_from_bounded_sets() -> None:
    metrics = Metrics()
    counter = metrics.origin.origin_errors
    observed = ObservedAnswers(metrics.origin, ["configured"])
    at_first = len(counter.totals())
    assert metrics.origin.origin_slow.totals() == metrics.origin.origin_bucket_requests.totals() == {("configured",): 0}
    for number in range(200):
        observed.refused(f"bucket-{number}", "", CosError(404, "NoSuchKey"))
        observed.refused("bucket-0", "", CosError(400, f"Code{number}"))
    observed.refused("configured", "", CosError(404))
    assert counter.total(("configured", "none")) == 1
    assert counter.total(("bucket-0", "NoSuchKey")) == 1
    assert counter.total(("other", "NoSuchKey")) == 150
    assert counter.total(("bucket-0", "Code0")) == 1
    assert counter.total(("bucket-0", "other")) == 150
    assert len(counter.totals()) == at_first + 50 + 1 + 50 + 1
