"""Hosts of buckets: those of Tencent's SDK."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from qcloud_cos import CosConfig
from qcloud_cos.cos_comm import format_region

from gateway.presign.hosts import Hosts
from gateway.settings import CosSettings

# Every name that the SDK treats in its own way, and others.
NAMED = (
    *("cn-north", "cn-south", "cn-east", "cn-south-2", "cn-southwest", "sg"),
    *("cossh", "cosgz", "cosbj", "costj", "coscd", "cossgp", "coshk", "cosca", "cosger"),
    *("ap-guangzhou", "ap-beijing-1", "eu-frankfurt", "accelerate", "cos", "cos-internal"),
)
buckets = st.from_regex(r"[a-z0-9][a-z0-9-]{0,30}-[0-9]{1,12}", fullmatch=True)
regions = st.one_of(st.sampled_from(NAMED), st.from_regex(r"[a-z0-9][a-z0-9-]{0,20}[a-z0-9]", fullmatch=True))
schemes = st.sampled_from(["http", "https"])
domains = st.from_regex(r"([A-Za-z0-9][A-Za-z0-9-]{0,9}\.){0,3}[A-Za-z0-9]{1,10}(:[1-9][0-9]{0,3})?", fullmatch=True)


def hosts(**changes: Any) -> Hosts:
    """Hosts for one bucket, ``photos-1250000000``, and what ``changes`` adds."""
    values = {"secret_id": "x", "secret_key": "y", "bucket": "photos-1250000000", **changes}
    return Hosts(CosSettings.model_validate(values))


def sdk_base(bucket: str, region: str, scheme: str, domain: str | None = None) -> str:
    """Return the scheme and host that the SDK uses for a bucket."""
    config = CosConfig(Region=region, SecretId="x", SecretKey="y", Scheme=scheme, Domain=domain)
    return str(config.uri(bucket=bucket)).removesuffix("/")


@given(bucket=buckets, region=regions, scheme=schemes)
def test_a_bucket_has_the_host_that_the_sdk_gives_it(bucket: str, region: str, scheme: str) -> None:
    origin = hosts(scheme=scheme).origin_of(bucket, region)
    assert origin.base == sdk_base(bucket, region, scheme)
    assert origin.host == origin.base.partition("://")[2]


@pytest.mark.parametrize("region", NAMED)
def test_every_region_that_the_sdk_renames_has_the_new_name(region: str) -> None:
    """The generated regions meet some of these names, not each of them in every run."""
    expected = f"photos-1250000000.{format_region(region, 'cos.', True, True)}.myqcloud.com"
    assert hosts().origin_of("photos-1250000000", region).host == expected


@given(domain=domains, region=regions, scheme=schemes)
def test_a_domain_replaces_the_host_of_its_bucket_alone(domain: str, region: str, scheme: str) -> None:
    own = hosts(domain=domain, scheme=scheme)
    origin = own.origin_of("photos-1250000000", region)
    assert origin.base == sdk_base("photos-1250000000", region, scheme, domain.lower())
    assert origin.host == domain.lower().partition(":")[0]
    assert own.origin_of("other-1250000000", region).base == sdk_base("other-1250000000", region, scheme)


@given(bucket=buckets, domain=domains)
def test_a_domain_with_the_name_of_the_bucket_serves_every_bucket(bucket: str, domain: str) -> None:
    origin = hosts(domain=f"{{bucket}}.{domain}").origin_of(bucket, "ap-guangzhou")
    assert origin.base == sdk_base(bucket, "ap-guangzhou", "https", f"{bucket}.{domain.lower()}")


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
def test_a_bucket_may_have_its_own_domain_and_scheme(own: dict[str, str], base: str) -> None:
    made = hosts(domain="img.example.com", buckets={"eu-1250000001": own})
    assert made.origin_of("eu-1250000001", "eu-frankfurt").base == base
    assert made.origin_of("photos-1250000000", "ap-beijing").base == "https://img.example.com"


def test_a_bucket_without_a_domain_has_the_one_that_fits_any() -> None:
    made = hosts(domain="{bucket}.img.example.com", buckets={"eu-1250000001": {"scheme": "http"}})
    assert made.origin_of("eu-1250000001", "eu-frankfurt").base == "http://eu-1250000001.img.example.com"


def test_the_host_is_never_an_internal_one() -> None:
    assert "internal" not in hosts().origin_of("photos-1250000000", "ap-beijing").host
