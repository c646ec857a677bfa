"""Presigned URLs: equal to the SDK's, the same within a window, and never longer than the token."""

import hashlib
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from qcloud_cos import CosConfig, CosS3Client, cos_auth

from gateway.catalog.record import InvalidObjectKey, check_object_key
from gateway.metrics.collectors import Metrics
from gateway.presign.credentials import Credentials
from gateway.presign.hosts import Hosts
from gateway.presign.renditions import Renditions
from gateway.presign.signed_image import PresignedUrl
from gateway.presign.signer import Signer, sign_query
from gateway.settings import CosSettings
from tests.signed_images import signed_image
from tests.tier import NOW, Clock, record

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
        credentials, hosts(), ttl=ttl, window=window, renditions=Renditions(RULES), metrics=Metrics(), now=clock
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
    except InvalidObjectKey:
        return False
    return True


keys = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60),
    st.text("ab/.+% #?&'()[]~!*\u56fe", min_size=1, max_size=20),
).filter(usable)


class TestEqualityWithTheSdk:
    """The same URL to the last byte, whatever is signed."""

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
            CREDENTIALS, hosts(domain=domain, scheme=scheme), ttl=60, window=1, metrics=metrics, now=Clock(NOW)
        ).sign(record(key=key), fresh=True)
        assert ours.url == sdk_url(key, "GET", 60, {}, NOW, Domain=domain, Scheme=scheme)

    @pytest.mark.parametrize(
        ("key", "style", "ttl", "signature"),
        [
            ("a/b.png", None, 300, "397ae0fd81ae8bc87665cf68d2c505b4add8e41d"),
            ("图/a b+c%d.png", None, 300, "4655be2498872530aed0ba4eed0a4feaf74348f9"),
            ("a.png", "half", 300, "d41ec3742071d91efb7f8feddcbf0bb1d420fd4c"),
        ],
    )
    def test_golden_vectors(self, key: str, style: str | None, ttl: int, signature: str) -> None:
        url = signer(Clock(NOW), ttl=ttl).sign(record(key=key), style, fresh=True).url
        assert dict(parse_qsl(urlsplit(url).query))["q-signature"] == signature


class TestTheSigningWindow:
    """Replicas and restarts agree without talking to each other."""

    @given(at=st.integers(10**9, 2 * 10**9), later=st.integers(0, 299), key=keys)
    def test_the_url_is_the_same_within_a_window_and_lives_long_enough_in_it(
        self, at: int, later: int, key: str
    ) -> None:
        one, other = signer(Clock(at)), signer(Clock(at + later))
        first, second = one.sign(record(key=key)), other.sign(record(key=key))
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


class TestTemporaryCredentials:
    """Lesson: the URL dies with the credential (boto/boto3#2392)."""

    def test_no_url_outlives_its_token(self) -> None:
        credentials = Credentials("AKIDEXAMPLE", "SKEXAMPLE", "token", NOW + 600)
        presigned = signer(Clock(NOW), credentials=credentials).sign(record(), fresh=True)
        assert presigned.expires_at == NOW + 600
        query = dict(parse_qsl(urlsplit(presigned.url).query))
        assert query["q-sign-time"] == f"{NOW - 60};{NOW + 600}"
        assert query["x-cos-security-token"] == "token"
        assert query["q-url-param-list"] == "x-cos-security-token"


class TestWhatIsOurs:
    """A cache is not trusted for where to send people."""

    def test_a_signed_url_is_recognized_later_and_by_other_replicas(self, clock: Clock) -> None:
        for style in (None, "half"):
            image = signed_image(record(), signer(clock).sign(record(), style), style)
            clock.now += 1000
            assert signer(clock).is_ours(image)

    def test_an_altered_url_is_refused(self, clock: Clock) -> None:
        made = signer(clock)
        presigned = made.sign(record())
        altered = [
            signed_image(record(key="b.png"), presigned),
            signed_image(record(bucket="other-1250000000"), presigned),
            signed_image(record(), presigned, "half"),
            signed_image(record(), presigned, "no-such-style"),
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
        assert [image for image in altered if made.is_ours(image)] == []

    def test_a_url_signed_with_other_credentials_is_refused(self, clock: Clock) -> None:
        image = signed_image(record(), signer(clock, credentials=Credentials("AKIDEXAMPLE", "old key")).sign(record()))
        assert not signer(clock).is_ours(image)


class TestHosts:
    """Which host serves a bucket."""

    @pytest.mark.parametrize(
        ("domain", "bucket", "base", "host"),
        [
            (
                None,
                "b-1250000000",
                "https://b-1250000000.cos.ap-beijing.myqcloud.com",
                "b-1250000000.cos.ap-beijing.myqcloud.com",
            ),
            ("Img.Example.com", "b-1250000000", "https://img.example.com", "img.example.com"),
            ("127.0.0.1:9000", "b-1250000000", "https://127.0.0.1:9000", "127.0.0.1"),
            (
                "img.example.com",
                "other-1250000000",
                "https://other-1250000000.cos.ap-beijing.myqcloud.com",
                "other-1250000000.cos.ap-beijing.myqcloud.com",
            ),
            (
                "{bucket}.cos.accelerate.myqcloud.com",
                "other-1250000000",
                "https://other-1250000000.cos.accelerate.myqcloud.com",
                "other-1250000000.cos.accelerate.myqcloud.com",
            ),
        ],
    )
    def test_a_domain_serves_the_bucket_it_belongs_to(
        self, domain: str | None, bucket: str, base: str, host: str
    ) -> None:
        origin = hosts(domain=domain).origin_of(bucket, "ap-beijing")
        assert (origin.base, origin.host) == (base, host)

    def test_lesson_14_the_host_is_never_an_internal_one(self) -> None:
        assert "internal" not in hosts().origin_of("b-1250000000", "ap-beijing").host


def test_parameters_are_signed_in_the_order_of_their_encoded_names() -> None:
    query = sign_query(CREDENTIALS, method="GET", path="/a", host="h", parameters={"b": "2", "A": "1"}, start=1, end=2)
    assert dict(parse_qsl(query))["q-url-param-list"] == "a;b"
    assert len(dict(parse_qsl(query))["q-signature"]) == hashlib.sha1(usedforsecurity=False).digest_size * 2
