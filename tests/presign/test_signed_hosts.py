"""The hosts in presigned URLs, and where a URL leads."""

import pytest

from tests.presign.test_signer import hosts


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

    @pytest.mark.parametrize(
        ("own", "base"),
        [
            ({}, "https://eu-1250000001.cos.eu-frankfurt.myqcloud.com"),
            ({"domain": "eu.example.com"}, "https://eu.example.com"),
            ({"domain": "eu.example.com:8080", "scheme": "http"}, "http://eu.example.com:8080"),
            ({"domain": "{bucket}.internal.example"}, "https://eu-1250000001.internal.example"),
            ({"scheme": "http"}, "http://eu-1250000001.cos.eu-frankfurt.myqcloud.com"),
        ],
    )
    def test_a_bucket_may_have_its_own_domain_and_scheme(self, own: dict[str, str], base: str) -> None:
        made = hosts(domain="img.example.com", buckets={"eu-1250000001": own})
        assert made.origin_of("eu-1250000001", "eu-frankfurt").base == base
        assert made.origin_of("b-1250000000", "ap-beijing").base == "https://img.example.com"

    def test_a_bucket_without_a_domain_has_the_one_that_fits_any(self) -> None:
        made = hosts(domain="{bucket}.img.example.com", buckets={"eu-1250000001": {"scheme": "http"}})
        assert made.origin_of("eu-1250000001", "eu-frankfurt").base == "http://eu-1250000001.img.example.com"

    def test_lesson_14_the_host_is_never_an_internal_one(self) -> None:
        assert "internal" not in hosts().origin_of("b-1250000000", "ap-beijing").host
