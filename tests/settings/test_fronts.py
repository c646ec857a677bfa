"""The section ``purge``: the mistakes that are refused, each with its key."""

from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from gateway.settings import PurgeSettings, Settings
from tests.settings.problems import REQUIRED

URL = "https://purge.example.com/images?a=b"


def test_a_webhook_needs_no_more_than_its_address() -> None:
    settings = PurgeSettings.model_validate({"target": "webhook", "url": URL})
    assert (settings.url, settings.base_urls, settings.token, settings.per_second) == (URL, (), None, 10)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"url": "ftp://host/"}, "url\n  Value error, must be an address like"),
        ({"url": "https://user:secret@host/"}, "url\n  Value error, must be an address like"),
        ({"url": "https://host:0/"}, "url\n  Value error, must be an address like"),
        ({"url": "https://host/a b"}, "url\n  Value error, must be an address like"),
        ({"url": "https://host/\u00e4"}, "url\n  Value error, must be an address like"),
        ({"url": "https://host/#part"}, "url\n  Value error, must be an address like"),
        ({"base_urls": ["https://img.example.com/path"]}, "base_urls.0\n  Value error, must be an address like"),
        ({"base_urls": ["https://{x}.example.com"]}, "base_urls.0\n  Value error, must be an address like"),
        ({"base_urls": ["https://user@example.com"]}, "base_urls.0\n  Value error, must be an address like"),
        ({"base_urls": ["https://a", "https://a/"]}, "base_urls\n  Value error, must not name an address twice"),
        ({"per_second": 0}, "per_second\n"),
        ({"token": "a b"}, "token\n"),
        ({"url": "http://purge.example.com/", "token": "t0ken"}, "url: must be an https address if there is a token"),
        ({"target": "smoke_signals"}, "target\n"),
    ],
)
def test_an_invalid_value_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        PurgeSettings.model_validate({"target": "webhook", "url": URL, **changes})
    assert message in str(caught.value)
    assert "secret" not in str(caught.value)


CDN = {"target": "tencent_cdn", "base_urls": ["https://img.example.com"]}
EDGEONE = {**CDN, "target": "edgeone", "zone_id": "zone-276zs184g93m"}


def test_tencent_s_services_need_addresses_and_edgeone_a_site() -> None:
    cdn, edgeone = PurgeSettings.model_validate(CDN), PurgeSettings.model_validate(EDGEONE)
    assert (cdn.api, edgeone.api) == ("https://cdn.tencentcloudapi.com", "https://teo.tencentcloudapi.com")
    by_tag = PurgeSettings.model_validate({**EDGEONE, "base_urls": [], "by": "cache_tag"})
    assert (cdn.names_addresses, edgeone.names_addresses, by_tag.names_addresses) == (True, True, False)
    assert PurgeSettings.model_validate({**CDN, "api_url": "http://127.0.0.1:9379"}).api == "http://127.0.0.1:9379"


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"target": "webhook"}, "url: is required for the target webhook"),
        ({**EDGEONE, "zone_id": None}, "zone_id: is required for the target edgeone"),
        ({**EDGEONE, "zone_id": "276zs184g93m"}, "zone_id\n  Value error, must be the id of an EdgeOne site"),
        ({"target": "tencent_cdn"}, "base_urls: must name the addresses"),
        ({**EDGEONE, "base_urls": []}, "base_urls: must name the addresses"),
        ({**CDN, "url": URL}, "url: is for the target webhook alone"),
        ({**CDN, "token": "secret"}, "token: is for the target webhook alone"),
        ({**CDN, "zone_id": "zone-1"}, "zone_id: is for the target edgeone alone"),
        ({**CDN, "by": "cache_tag"}, "by: is for the target edgeone alone"),
        ({**CDN, "per_second": 21}, "per_second: must be at most 20"),
        ({**CDN, "api_url": "http://cdn.example.com"}, "api_url\n  Value error, must be an https address"),
        ({"target": "webhook", "url": URL, "credentials": {"source": "environment"}}, "TENCENTCLOUD_SECRET_ID"),
        (
            {"target": "webhook", "url": URL, "credentials": {"source": "cvm_role"}},
            "credentials: is for the target tencent_cdn or edgeone alone",
        ),
    ],
)
def test_a_combination_that_cannot_work_is_refused(section: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        PurgeSettings.model_validate(section)
    assert message in str(caught.value)
    assert "secret" not in str(caught.value)


def settings(purge: dict[str, Any], **sections: Any) -> Settings:
    """Return a configuration with that section."""
    return Settings.model_validate(yaml.safe_load(REQUIRED) | {"purge": purge} | sections)


def test_all_addresses_of_an_image_fit_into_one_request() -> None:
    bases = [f"https://img-{number}.example.com" for number in range(5)]
    cdn, edgeone = {**CDN, "base_urls": bases}, {**EDGEONE, "base_urls": bases}
    styles: dict[str, Any] = {f"style-{number}": "imageMogr2/strip" for number in range(3)}
    styles["card"] = {
        "widths": list(range(100, 123)),
        "formats": ["webp", "avif"],
    }  # 24 widths and none, 3 formats and none
    assert settings(cdn, image_styles=styles)
    more = {**styles, "one-more": "imageMogr2/strip"}
    for purge in (cdn, edgeone):
        with pytest.raises(ValidationError, match="base_urls and image_styles make 1010 addresses of an image"):
            settings(purge, image_styles=more)
    assert settings({**edgeone, "by": "cache_tag"}, image_styles=more)


def test_static_credentials_of_purges_take_the_keys_of_cos() -> None:
    static = {**CDN, "credentials": {"source": "static"}}
    found = settings(static)
    assert found.purge is not None
    assert found.purge.credentials is not None
    assert getattr(found.cos.with_keys(found.purge.credentials), "secret_id", None) == found.cos.secret_id
    cos = {"bucket": "b-1250000000", "credentials": {"source": "cvm_role"}}
    with pytest.raises(ValidationError, match=r"purge\.credentials: the static source needs secret_id and secret_key"):
        settings(static, cos=cos, redis={"entry_key": "k" * 32})


def test_a_token_may_be_sent_in_clear_to_this_machine() -> None:
    PurgeSettings.model_validate({"target": "webhook", "url": "http://127.0.0.1:8000/", "token": "t0ken"})


def test_purges_need_redis() -> None:
    sections = yaml.safe_load(REQUIRED) | {"purge": {"target": "webhook", "url": URL}}
    Settings.model_validate(sections)
    with pytest.raises(ValidationError, match=r"purge: needs url_cache\.enabled"):
        Settings.model_validate(sections | {"url_cache": {"enabled": False}})
