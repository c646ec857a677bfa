"""Presigned URLs: equal to the SDK's, the same within a window, and never longer than the token."""

from collections import Counter
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from qcloud_cos import CosConfig, CosS3Client, cos_auth

from gateway.catalog.record import check_object_key
from gateway.checks.configuration import diagnose_signature
from gateway.presign.credentials import Credentials
from gateway.presign.hosts import Hosts
from gateway.presign.probe_signer import signs_as_the_sdk
from gateway.presign.signer import ObjectId, PresignedUrl, SignedImage, Signer
from gateway.presign.style_variants import Renditions
from gateway.service.metrics import Metrics
from gateway.settings import CosSettings, Live
from tests.signed_images import signed_image
from tests.tier import NOW, Clock, record
from tests.url_settings import url_cache

CREDENTIALS = Credentials("AKIDEXAMPLE", "SKEXAMPLE")
RULES = {
    "half": "imageMogr2/thumbnail/!50p",
    "thumb": "imageMogr2/thumbnail/300x300|watermark/2/text/5Zu+",
    "view": "imageView2/2/w/200",
}


def hosts(**changes: Any) -> Hosts:
    return Hosts(CosSettings.model_validate({"secret_id": "x", "secret_key": "y", "bucket": "b-1250000000", **changes}))


def signer(clock: Clock, *, credentials: Credentials = CREDENTIALS, ttl: int = 3600, window: int = 300) -> Signer:
    return Signer(
        lambda _: credentials,
        hosts(),
        Live(url_cache(ttl, window=window)),
        renditions=Live(Renditions(RULES)),
        metrics=Metrics().presign,
        now=clock,
    )


def sdk_url(key: str, method: str, ttl: int, params: dict[str, str], at: int, **config: Any) -> str:
    """Return the URL that the SDK signs at a given time; it has no clock parameter, so its clock is replaced."""
    settings = {"Region": "ap-beijing", "SecretId": "AKIDEXAMPLE", "SecretKey": "SKEXAMPLE", **config}
    client = CosS3Client(CosConfig(**settings))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cos_auth, "time", SimpleNamespace(time=lambda: at))
        url = client.get_presigned_url("b-1250000000", key, method, Expired=ttl, Params=params)
    assert isinstance(url, str)
    return url


def usable(key: str) -> bool:
    try:
        check_object_key(key)
    except ValueError:
        return False
    return True


keys = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60),
    st.text("ab/.+% #?&'()[]~!*\u56fe", min_size=1, max_size=20),
).filter(usable)


class TestEqualityWithTheSdk:
    """The same URL to the last byte, for all inputs."""

    @given(
        key=keys,
        method=st.sampled_from(["GET", "HEAD"]),
        ttl=st.integers(1, 604_800),
        at=st.integers(10**9, 4 * 10**9),
        style=st.sampled_from([None, *RULES]),
    )
    def test_keys_methods_times_and_styles(self, key: str, method: str, ttl: int, at: int, style: str | None) -> None:
        ours = signer(Clock(at), ttl=ttl).sign(record(key=key), style, method=method, fresh=True)
        params = {RULES[style]: ""} if style is not None else {}
        assert ours.url == sdk_url(key, method, ttl, params, at)
        assert (ours.signed_at, ours.expires_at) == (at, at + ttl)

    @given(token=st.text("abcXYZ019/+=-_", min_size=1, max_size=80), key=keys)
    def test_a_security_token_is_signed_as_the_sdk_signs_a_parameter(self, token: str, key: str) -> None:
        credentials = Credentials("AKIDEXAMPLE", "SKEXAMPLE", token)
        ours = signer(Clock(NOW), credentials=credentials).sign(record(key=key), "half", fresh=True)
        params = {RULES["half"]: "", "x-cos-security-token": token}
        assert ours.url == sdk_url(key, "GET", 3600, params, NOW)

    @given(
        domain=st.sampled_from(["img.example.com", "127.0.0.1:9000", "b-1250000000.cos.accelerate.myqcloud.com"]),
        scheme=st.sampled_from(["http", "https"]),
        key=keys,
    )
    def test_domains_ports_and_schemes(self, domain: str, scheme: str, key: str) -> None:
        metrics = Metrics()
        ours = Signer(
            lambda _: CREDENTIALS,
            hosts(domain=domain, scheme=scheme),
            Live(url_cache(60, window=1)),
            metrics=metrics.presign,
            now=Clock(NOW),
        ).sign(record(key=key), fresh=True)
        assert ours.url == sdk_url(key, "GET", 60, {}, NOW, Domain=domain, Scheme=scheme)


@pytest.mark.parametrize("domain", [None, "img.example.com", "127.0.0.1:9000"])
def test_check_compares_the_signature_with_that_of_the_installed_sdk(domain: str | None) -> None:
    known = hosts(domain=domain, scheme="http")
    assert diagnose_signature(known, {"b-1250000000": "ap-beijing", "other-1250000000": "cossh"}).is_well
    assert not signs_as_the_sdk(known, "b-1250000000", "ap-beijing", CREDENTIALS)


class TestTemporaryCredentials:
    """Lesson: the URL dies with the credential (boto/boto3#2392)."""

    def test_no_url_outlives_its_token(self) -> None:
        credentials = Credentials("AKIDEXAMPLE", "SKEXAMPLE", "token", NOW + 600)
        presigned = signer(Clock(NOW), credentials=credentials).sign(record(), fresh=True)
        assert NOW + 450 <= presigned.expires_at <= NOW + 600
        query = dict(parse_qsl(urlsplit(presigned.url).query))
        assert query["q-sign-time"] == f"{NOW - 60};{presigned.expires_at}"
        assert query["x-cos-security-token"] == "token"
        assert query["q-url-param-list"] == "x-cos-security-token"

    @given(
        left=st.integers(-100, 200_000),
        passed=st.integers(0, 10_000),
        key=st.text("abc", min_size=1),
        fresh=st.booleans(),
    )
    def test_a_url_lives_long_enough_and_never_past_its_token(
        self, left: int, passed: int, key: str, *, fresh: bool
    ) -> None:
        end = NOW + passed + left
        signs = signer(Clock(NOW + passed), credentials=Credentials("AKIDEXAMPLE", "SKEXAMPLE", "token", end))
        presigned = signs.sign(record(key=key), fresh=fresh)
        assert presigned.expires_at <= end
        if left > 0:
            usable = min(left, 3600)
            assert presigned.expires_at - (NOW + passed) >= int(usable * 0.7)
            assert NOW + passed - presigned.signed_at <= usable / 10

    def test_replicas_with_the_same_token_make_the_same_url(self) -> None:
        credentials = Credentials("AKIDEXAMPLE", "SKEXAMPLE", "token", NOW + 1800)
        urls = {signer(Clock(NOW + second), credentials=credentials).sign(record()).url for second in range(130)}
        assert len(urls) <= 2

    def test_the_urls_of_one_token_end_at_different_times(self) -> None:
        """A million of them would otherwise be signed again in the same second."""
        credentials = Credentials("AKIDEXAMPLE", "SKEXAMPLE", "token", NOW + 1000)
        signs = signer(Clock(NOW), credentials=credentials)
        ends = Counter(signs.sign(record(key=f"{number}.png"), fresh=True).expires_at for number in range(5000))
        assert (min(ends), max(ends)) == (NOW + 753, NOW + 1000)
        assert max(ends.values()) < 3 * 5000 / 248

    def test_the_urls_of_the_last_seconds_end_with_their_token(self) -> None:
        credentials = Credentials("AKIDEXAMPLE", "SKEXAMPLE", "token", NOW + 10)
        signs = signer(Clock(NOW), credentials=credentials)
        assert {signs.sign(record(key=f"{number}.png")).expires_at for number in range(100)} == {NOW + 10}

    def test_a_url_with_more_parameters_ends_with_the_image_s_or_with_this_replica_s_token(self, clock: Clock) -> None:
        image = signed_image(record(), signer(clock).sign(record(), fresh=True))
        for left, expected in ((600, NOW + 600), (36_000, NOW + 3600)):
            credentials = Credentials("AKIDEXAMPLE", "SKEXAMPLE", "token", NOW + left)
            also = signer(clock, credentials=credentials).sign_also(image, {"response-content-type": "image/png"})
            assert also.expires_at == expected
            assert dict(parse_qsl(urlsplit(also.url).query))["q-sign-time"].endswith(f";{expected}")


def is_ours(signs: Signer, image: SignedImage) -> bool:
    """Whether the signer builds this URL from the row, the times, and what a URL has of its own."""
    kept, own = image.presigned, signs.authorization_of(image.presigned.url)
    return own is not None and kept.url == signs.rebuild(
        image.record, image.rendition, own, kept.signed_at, kept.expires_at
    )


class TestWhatIsOurs:
    """A cache is not trusted for where to send people."""

    def test_a_signed_url_is_recognized_later_and_by_other_replicas(self, clock: Clock) -> None:
        for style in (None, "half"):
            image = signed_image(record(), signer(clock).sign(record(), style), style)
            clock.now += 1000
            assert is_ours(signer(clock), image)

    def test_an_altered_url_is_refused(self, clock: Clock) -> None:
        made = signer(clock)
        presigned = made.sign(record())
        altered = [
            signed_image(record(key="b.png"), presigned),
            signed_image(record(bucket="other-1250000000"), presigned),
            signed_image(record(), presigned, "half"),
            signed_image(record(), PresignedUrl(presigned.url, presigned.signed_at, presigned.expires_at + 1)),
            signed_image(record(), PresignedUrl(presigned.url, presigned.signed_at + 1, presigned.expires_at + 1)),
            signed_image(
                record(),
                PresignedUrl(
                    presigned.url.replace("myqcloud.com", "evil.example"), presigned.signed_at, presigned.expires_at
                ),
            ),
            signed_image(record(), PresignedUrl(presigned.url + "&x=1", presigned.signed_at, presigned.expires_at)),
        ]
        assert [image for image in altered if is_ours(made, image)] == []

    @pytest.mark.parametrize("style", [None, "half"])
    @pytest.mark.parametrize(
        "credentials",
        [
            Credentials("AKIDEXAMPLE", "old key"),
            Credentials("AKIDOTHER", "other key"),
            Credentials("AKID+/=%&", "other key", "tok&n/+==%26", NOW + 100_000),
            Credentials("AKIDOTHER", "other key", "token", NOW + 600),
        ],
    )
    def test_a_url_that_another_replica_signed_with_its_credentials_is_as_good(
        self, clock: Clock, credentials: Credentials, style: str | None
    ) -> None:
        presigned = signer(clock, credentials=credentials).sign(record(), style)
        image = signed_image(record(), presigned, style)
        assert is_ours(signer(clock), image)
        assert not is_ours(signer(clock), signed_image(record(), presigned, None if style else "half"))
        assert not is_ours(signer(clock), signed_image(record(key="b.png"), presigned, style))

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            ("https://", "http://"),
            ("/a.png?", "/b.png?"),
            ("/a.png?", "/a.png?x=1&"),
            ("q-sign-algorithm=sha1", "q-sign-algorithm=md5"),
            ("q-ak=AKIDOTHER", "q-ak="),
            ("q-ak=AKIDOTHER", "q-ak=a&q-ak=b"),
            ("q-ak=AKIDOTHER", "q-ak=a#b"),
            ("q-ak=AKIDOTHER", "q-ak=a\r\nb"),
            ("q-ak=AKIDOTHER", "q-ak=a/../../b"),
            ("q-header-list=host", "q-header-list="),
            ("q-url-param-list=x-cos-security-token", "q-url-param-list="),
            ("&x-cos-security-token=token", ""),
            ("&x-cos-security-token=token", "&x-cos-security-token=a&x-cos-security-token=b"),
            ("&x-cos-security-token=token", "&x-cos-security-token=a b"),
            ("&x-cos-security-token=token", "&x-cos-security-token=token&response-content-type=text/html"),
            ("&x-cos-security-token=token", "&response-content-type=text/html&x-cos-security-token=token"),
        ],
    )
    def test_no_other_part_of_the_url_may_differ(self, clock: Clock, old: str, new: str) -> None:
        credentials = Credentials("AKIDOTHER", "other key", "token", NOW + 100_000)
        presigned = signer(clock, credentials=credentials).sign(record())
        assert old in presigned.url
        altered = PresignedUrl(presigned.url.replace(old, new), presigned.signed_at, presigned.expires_at)
        assert not is_ours(signer(clock), signed_image(record(), altered))

    @pytest.mark.parametrize(("signed_at", "life"), [(NOW, 3601), (NOW, 0), (NOW, -1), (-NOW, 10**30)])
    def test_a_life_that_no_gateway_signs_is_refused(self, clock: Clock, signed_at: int, life: int) -> None:
        url = signer(clock).sign(record(), fresh=True).url
        times = f"{signed_at - 60}%3B{signed_at + life}"
        url = url.replace(f"{NOW - 60}%3B{NOW + 3600}", times)
        image = signed_image(record(), PresignedUrl(url, signed_at, signed_at + life))
        assert not is_ours(signer(clock), image)


def test_an_original_is_not_named_yet(clock: Clock) -> None:
    assert signer(clock).sign_image(record()).named is None


def test_a_rendition_is_named_by_its_rule(clock: Clock) -> None:
    row = record(focus="north")
    named = ObjectId(row.bucket, row.region, row.key, "thumb", "north", RULES["thumb"])
    assert signer(clock).sign_image(row, "thumb").named == named


class TestTheSigningWindow:
    """Replicas and restarts agree without talking to each other."""

    @given(at=st.integers(10**9, 2 * 10**9), later=st.integers(0, 299), key=keys)
    def test_the_url_is_the_same_within_a_window_and_lives_long_enough_in_it(
        self, at: int, later: int, key: str
    ) -> None:
        early, other = signer(Clock(at)), signer(Clock(at + later))
        first, second = early.sign(record(key=key)), other.sign(record(key=key))
        assert first.url == second.url or second.signed_at == first.signed_at + 300
        for presigned, now in ((first, at), (second, at + later)):
            assert now - 300 < presigned.signed_at <= now
            assert presigned.expires_at == presigned.signed_at + 3600

    def test_windows_of_different_keys_start_at_different_times(self) -> None:
        made = signer(Clock(NOW))
        starts = {made.sign(record(key=f"{number}.png")).signed_at for number in range(300)}
        assert len(starts) > 100

    def test_a_fresh_url_is_signed_now(self) -> None:
        assert signer(Clock(NOW)).sign(record(), fresh=True).signed_at == NOW

    def test_without_a_window_every_second_is_its_own(self) -> None:
        assert signer(Clock(NOW), window=0).sign(record()).signed_at == NOW


def test_images_signed_in_one_window_share_their_times(clock: Clock) -> None:
    first, second = (signer(clock).sign_image(record(), read_at=int(str(NOW))) for _ in range(2))
    assert first.presigned.signed_at is second.presigned.signed_at
    assert first.presigned.expires_at is second.presigned.expires_at
    assert first.read_at is second.read_at
