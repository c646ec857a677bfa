"""The readiness of buckets: a bucket works if it accepts signatures, by requests or by a probe of its own."""

import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

import pytest

from gateway.catalog.record import ImageRecord
from gateway.errors import CatalogUnavailable, DependencyDegraded, GatewayError, OriginUnavailable
from gateway.monitoring.buckets_probe import BucketsProbe, ObjectQuestions
from gateway.origin.client import OriginClient, open_origin
from gateway.origin.cos_errors import PresignedUrlRefused
from gateway.presign.credentials import Credentials
from gateway.presign.hosts import Hosts
from gateway.presign.signer import Signer
from gateway.presign.url_lifetime import CosClock
from gateway.service.metrics import Metrics
from gateway.settings import CosSettings, ImageProxySettings, Live
from gateway_dev.cos_emulator.access import Credential
from gateway_dev.cos_emulator.faults import Fault, Hang, Refuse
from gateway_dev.cos_emulator.server import CosEmulator
from gateway_dev.cos_emulator.store import ObjectStore
from tests.conftest import BUCKET, SECRET_ID, SECRET_KEY
from tests.here import Here
from tests.url_settings import url_cache

OTHER = "other-1250000000"
REGION = "ap-guangzhou"
DENIED = Refuse(status=403, code="AccessDenied", message="Access Denied.")


@dataclass
class Probed:
    """A probe of an emulator, the client that it shares with requests, and what it may find."""

    origin: OriginClient
    port: int
    clock: CosClock = field(default_factory=CosClock)
    metrics: Metrics = field(default_factory=Metrics)
    rows: list[ImageRecord] | CatalogUnavailable = field(default_factory=list)
    now: float = 1000.0
    later: float = 0.0  # seconds since URLs were signed
    secret_key: str = SECRET_KEY

    def probe(self, *buckets: str, timeout: float = 20) -> BucketsProbe:
        """Return a probe of these buckets."""
        return BucketsProbe(
            ObjectQuestions(self.origin, self.sign, self.clock.refused_at, lambda: self.clock.now() + self.later),
            dict.fromkeys(buckets or (BUCKET,), REGION),
            self.metrics.monitoring,
            sample=self._sample,
            observe=self.clock.observe,
            timeout=timeout,
            monotonic=lambda: self.now,
        )

    def sign(self, image: ImageRecord) -> str:
        """Return a presigned URL."""
        place = f"{{bucket}}.cos.test.myqcloud.com:{self.port}"
        settings = CosSettings(bucket=BUCKET, scheme="http", domain=place, secret_id=SECRET_ID, secret_key=SECRET_KEY)
        credentials, hosts = Credentials(SECRET_ID, self.secret_key), Hosts(settings)
        signer = Signer(
            lambda _: credentials,
            hosts,
            Live(url_cache(600, window=1)),
            metrics=self.metrics.presign,
            now=self.clock.now,
        )
        return signer.sign(image).url

    async def _sample(self) -> Sequence[ImageRecord]:
        if isinstance(self.rows, CatalogUnavailable):
            raise self.rows
        return self.rows

    def up(self, bucket: str) -> float | None:
        """Return the value of the bucket's metric."""
        name = "image_gateway_dependency_up"
        return self.metrics.registry.get_sample_value(name, {"dependency": f"cos:{bucket}"})


@pytest.fixture
async def emulator() -> AsyncIterator[CosEmulator]:
    """An emulator with two buckets, and the objects ``a.png`` and ``b.png`` in each."""
    objects = ObjectStore()
    for bucket in (BUCKET, OTHER):
        objects.create_bucket(bucket)
        for key in ("a.png", "b.png"):
            objects.put(bucket, key, b"an image", content_type="image/png")
    async with CosEmulator(objects, {SECRET_ID: Credential(SECRET_KEY)}) as emulator:
        yield emulator


@pytest.fixture
async def probed(emulator: CosEmulator) -> AsyncIterator[Probed]:
    """What is probed: the emulator, without rows."""
    metrics = Metrics()
    opening = open_origin(
        Live(ImageProxySettings(timeout=20)), max_connections=4, metrics=metrics.origin, resolver=Here()
    )
    async with opening as origin:
        yield Probed(origin, emulator.port, metrics=metrics)


def row(key: str, bucket: str = BUCKET) -> ImageRecord:
    """Return the record of an image."""
    return ImageRecord(key, None, True, bucket, REGION, key, None)


def asked(emulator: CosEmulator) -> list[str]:
    """Return the keys that COS was asked for."""
    return [seen.key for seen in emulator.request_log.requests]


@pytest.mark.parametrize("rows", [[], CatalogUnavailable("connection refused")], ids=["no rows", "no postgres"])
@pytest.mark.parametrize("is_denied", [False, True])
async def test_a_made_up_key_shows_that_the_signature_is_right(
    probed: Probed, emulator: CosEmulator, rows: list[ImageRecord] | CatalogUnavailable, *, is_denied: bool
) -> None:
    """Without the right to list, COS may not say that there is no such object."""
    if is_denied:
        emulator.faults.add(Fault(action=DENIED, times=None))
    probed.rows = rows
    await probed.probe().probe()
    assert asked(emulator) == ["image-gateway-probe"]
    assert probed.up(BUCKET) is None, "that of the dependency is enough for one bucket"


@pytest.mark.parametrize("has_rows", [True, False])
async def test_a_wrong_key_is_a_refusal_with_the_code(probed: Probed, emulator: CosEmulator, *, has_rows: bool) -> None:
    probed.rows = [row("a.png"), row("b.png")] if has_rows else []
    probe = probed.probe()
    probed.secret_key = "another"
    with pytest.raises(DependencyDegraded, match=f"^bucket {BUCKET}: COS answered 403 SignatureDoesNotMatch"):
        await probe.probe()
    kept_back = not probe.may_serve
    probed.secret_key = SECRET_KEY
    await probe.probe()
    assert (kept_back, probe.may_serve) == (True, True)
    assert len(asked(emulator)) == 2, "no other object is answered otherwise"


async def test_a_bucket_that_does_not_exist_is_a_refusal_and_keeps_no_other_bucket_from_its_start(
    probed: Probed,
) -> None:
    for buckets in (("third-1250000000",), (BUCKET, "third-1250000000")):
        probe = probed.probe(*buckets)
        with pytest.raises(DependencyDegraded, match=r"^bucket third-1250000000: COS .* NoSuchBucket"):
            await probe.probe()
        assert probe.may_serve == (BUCKET in buckets)


@pytest.mark.parametrize(("listed", "named"), [([], ["fourth-1250000000", OTHER]), ([OTHER], [OTHER])])
async def test_a_default_bucket_that_no_row_names_may_be_gone_and_a_bucket_of_the_rows_shows_that_the_key_is_right(
    probed: Probed, listed: list[str], named: list[str]
) -> None:
    """The credentials of the default bucket sign for the buckets that are not listed."""
    default = "third-1250000000"
    probed.rows = [row("a.png", bucket) for bucket in named]
    probe, probed.secret_key = probed.probe(default, *listed), "another"
    with pytest.raises(DependencyDegraded, match=rf"bucket {OTHER}.*"):
        await probe.probe()
    kept_back, probed.secret_key = not probe.may_serve, SECRET_KEY
    await probe.probe()
    assert (kept_back, probe.may_serve) == (True, True)
    probed.rows = [row("a.png", default)]
    probed.now += 60
    with pytest.raises(DependencyDegraded, match=rf"^bucket {default}: COS answered 404 NoSuchBucket"):
        await probe.probe()


@pytest.mark.parametrize(("refused", "bucket"), [("image-gateway-probe", BUCKET), ("a.png", OTHER)])
async def test_a_default_bucket_that_exists_is_asked_also_while_no_row_of_the_sample_names_it(
    probed: Probed, emulator: CosEmulator, refused: str, bucket: str
) -> None:
    """A few of many rows may name it. The bucket that works lets the gateway serve."""
    emulator.faults.add(Fault(action=Refuse(status=403, code="InvalidAccessKeyId"), key=refused, times=None))
    probed.rows = [row("a.png", OTHER)]
    probe = probed.probe(BUCKET, OTHER)
    with pytest.raises(DependencyDegraded, match=rf"^bucket {bucket}: COS answered 403 InvalidAccessKeyId [^;]*$"):
        await probe.probe()
    assert probe.may_serve


async def test_a_policy_that_denies_some_keys_is_no_failure(probed: Probed, emulator: CosEmulator) -> None:
    emulator.faults.add(Fault(action=DENIED, key="a.png", times=None))
    probed.rows = [row("a.png"), row("b.png")]
    probe = probed.probe()
    await probe.probe()
    await probe.probe()
    assert asked(emulator) == ["a.png", "b.png", "b.png"], "the object that was accepted is asked for again"


async def test_a_policy_that_denies_every_row_is_a_refusal(probed: Probed, emulator: CosEmulator) -> None:
    emulator.faults.add(Fault(action=DENIED, times=None))
    probed.rows = [row(f"{number}.png") for number in range(10)]
    with pytest.raises(DependencyDegraded, match="403 AccessDenied"):
        await probed.probe().probe()
    assert len(asked(emulator)) == 4


async def test_a_row_whose_object_is_gone_or_archived_shows_that_the_signature_is_right(
    probed: Probed, emulator: CosEmulator
) -> None:
    emulator.faults.add(Fault(action=Refuse(status=403, code="InvalidObjectState"), key="b.png", times=None))
    for key in ("gone.png", "b.png"):
        probed.rows = [row(key)]
        await probed.probe().probe()
        assert asked(emulator)[-1] == key


@pytest.mark.parametrize("action", [Refuse(status=503, code="SlowDown"), Refuse(status=500, code="InternalError")])
async def test_a_bucket_that_fails_is_no_refusal(probed: Probed, emulator: CosEmulator, action: Refuse) -> None:
    emulator.faults.add(Fault(action=action, times=None))
    probe = probed.probe()
    with pytest.raises(OriginUnavailable, match=action.code):
        await probe.probe()
    assert probe.may_serve


async def test_every_bucket_that_fails_is_named_and_none_waits_for_another(
    probed: Probed, emulator: CosEmulator
) -> None:
    emulator.faults.add(Fault(action=Hang(), key="a.png", times=None))
    probed.rows = [row("a.png", OTHER), row("b.png")]
    began = time.monotonic()
    with pytest.raises(OriginUnavailable) as down:
        await probed.probe(BUCKET, OTHER, "third-1250000000", timeout=4).probe()
    first, _, second = str(down.value).partition("; ")
    assert first == f"bucket {OTHER}: no answer within 4 s"
    assert second.startswith("bucket third-1250000000: COS answered 404 NoSuchBucket")
    assert [probed.up(bucket) for bucket in (BUCKET, OTHER, "third-1250000000")] == [1, 0, 0]
    assert time.monotonic() - began < 15


async def test_requests_that_are_accepted_need_no_probe(probed: Probed, emulator: CosEmulator) -> None:
    probe = probed.probe()
    for key in ("a.png", "gone.png"):
        try:
            (await probed.origin.fetch(probed.sign(row(key)), BUCKET)).close()
        except GatewayError:
            assert key == "gone.png"
        await probe.probe()
    assert asked(emulator) == ["a.png", "gone.png"]
    await probe.probe()
    assert asked(emulator)[2:] == ["image-gateway-probe"], "they count once"


async def test_requests_that_are_refused_count_for_half_a_minute_until_one_is_accepted(
    probed: Probed, emulator: CosEmulator
) -> None:
    """A probe of its own would be accepted: the light shows what requests get."""
    probe = probed.probe()
    for recovers in (False, True):
        emulator.faults.add(Fault(action=DENIED, key="b.png"))
        with pytest.raises(PresignedUrlRefused):
            await probed.origin.fetch(probed.sign(row("b.png")), BUCKET)
        for _ in range(2):
            with pytest.raises(DependencyDegraded, match="403 AccessDenied"):
                await probe.probe()
            probed.now += 29 / 2
        if recovers:
            (await probed.origin.fetch(probed.sign(row("b.png")), BUCKET)).close()
        else:
            probed.now += 2
        await probe.probe()


async def test_old_urls_that_are_still_accepted_do_not_outvote_refusals_of_new_signatures(
    probed: Probed, emulator: CosEmulator
) -> None:
    """A secret that is half rotated: URLs that were signed before it work until they end."""
    probe, old = probed.probe(), probed.sign(row("a.png"))
    probed.secret_key = "another"
    for _ in range(3):
        (await probed.origin.fetch(old, BUCKET)).close()
        with pytest.raises(PresignedUrlRefused):
            await probed.origin.fetch(probed.sign(row("b.png")), BUCKET)
        (await probed.origin.fetch(old, BUCKET)).close()
        with pytest.raises(DependencyDegraded, match="403 SignatureDoesNotMatch"):
            await probe.probe()
        probed.now += 40
    (await probed.origin.fetch(old, BUCKET)).close()
    with pytest.raises(DependencyDegraded, match="403 SignatureDoesNotMatch"):
        await probe.probe()
    probed.secret_key = SECRET_KEY
    (await probed.origin.fetch(old, BUCKET)).close()
    await probe.probe()
    asked_before = len(asked(emulator))
    (await probed.origin.fetch(old, BUCKET)).close()
    await probe.probe()
    assert len(asked(emulator)) == asked_before + 1, "the light is good again, and requests prove it"


async def test_a_url_that_was_signed_long_ago_proves_nothing_about_new_signatures(
    probed: Probed, emulator: CosEmulator
) -> None:
    probe, old = probed.probe(), probed.sign(row("a.png"))
    probed.later = 601
    probed.secret_key = "another"
    (await probed.origin.fetch(old, BUCKET)).close()
    with pytest.raises(DependencyDegraded, match="403 SignatureDoesNotMatch"):
        await probe.probe()
    probed.secret_key = SECRET_KEY
    for _ in range(3):
        (await probed.origin.fetch(old, BUCKET)).close()
        await probe.probe()
    assert asked(emulator).count("image-gateway-probe") == 2, "a probe of its own counts for a minute"


@pytest.mark.parametrize("ahead", [300, -900])
async def test_a_clock_that_is_wrong_is_corrected_by_the_probe(probed: Probed, ahead: float) -> None:
    """The signature begins in the future, or has ended."""
    probed.clock = CosClock(local=lambda: time.time() + ahead)
    await probed.probe().probe()
    assert probed.clock.offset == pytest.approx(-ahead, abs=20)
    assert probed.clock.observed_offset == pytest.approx(-ahead, abs=20)


async def test_rows_are_read_again_after_a_minute(probed: Probed, emulator: CosEmulator) -> None:
    emulator.faults.add(Fault(action=DENIED, key="a.png", times=None))
    probed.rows = [row("a.png")]
    probe = probed.probe()
    for passed in (0, 59):
        probed.now += passed
        with pytest.raises(DependencyDegraded):
            await probe.probe()
        probed.rows = [row("b.png")]
    probed.now += 1
    await probe.probe()
