"""The section ``purge``: the mistakes that are refused, each with its key."""

from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from gateway.settings import PurgeSettings, Settings
from tests.settings.problems import REQUIRED

URL = "https://purge.example.com/images?a=b"


CDN = {"target": "tencent_cdn", "base_urls": ["https://img.example.com"]}
EDGEONE = {**CDN, "target": "edgeone", "zone_id": "zone-276zs184g93m"}
WEBHOOK = {"target": "webhook", "url": URL}


def test_a_webhook_needs_no_more_than_its_address() -> None:
    settings = PurgeSettings.model_validate(WEBHOOK)
    assert (settings.url, settings.base_urls, settings.token, settings.per_second) == (URL, (), None, 10)
    PurgeSettings.model_validate({"target": "webhook", "url": "http://127.0.0.1:8000/", "token": "sent-in-clear"})


def test_tencent_s_services_need_addresses_and_edgeone_a_site() -> None:
    cdn, edgeone = PurgeSettings.model_validate(CDN), PurgeSettings.model_validate(EDGEONE)
    assert (cdn.api, edgeone.api) == ("https://cdn.tencentcloudapi.com", "https://teo.tencentcloudapi.com")
    by_tag = PurgeSettings.model_validate({**EDGEONE, "base_urls": [], "by": "cache_tag"})
    assert (cdn.names_addresses, edgeone.names_addresses, by_tag.names_addresses) == (True, True, False)
    assert PurgeSettings.model_validate({**CDN, "api_url": "http://127.0.0.1:9379"}).api == "http://127.0.0.1:9379"


_NO_ADDRESS = "\n  Value error, must be an address like"


@pytest.mark.parametrize(
    ("section", "message"),
    [
        *(
            ({**WEBHOOK, "url": url}, f"url{_NO_ADDRESS}")
            for url in (
                *("ftp://host/", "https://user:secret@host/", "https://host:0/", "https://host/a b"),
                *("https://host/\u00e4", "https://host/#part"),
            )
        ),
        *(
            ({**WEBHOOK, "base_urls": [url]}, f"base_urls.0{_NO_ADDRESS}")
            for url in ("https://img.example.com/path", "https://{x}.example.com", "https://user@example.com")
        ),
        ({**WEBHOOK, "base_urls": ["https://a", "https://a/"]}, "base_urls\n  Value error, must not name an address"),
        ({**WEBHOOK, "per_second": 0}, "per_second\n"),
        ({**WEBHOOK, "token": "a b"}, "token\n"),
        ({**WEBHOOK, "url": "http://purge.example.com/", "token": "t0ken"}, "url: must be an https address if there"),
        ({**WEBHOOK, "target": "smoke_signals"}, "target\n"),
        ({"target": "webhook"}, "url: is required for the target webhook"),
        ({**WEBHOOK, "credentials": {"source": "environment"}}, "TENCENTCLOUD_SECRET_ID"),
        ({**WEBHOOK, "credentials": {"source": "cvm_role"}}, "credentials: is for the target tencent_cdn or edgeone"),
        ({**EDGEONE, "zone_id": None}, "zone_id: is required for the target edgeone"),
        ({**EDGEONE, "zone_id": "276zs184g93m"}, "zone_id\n  Value error, must be the id of an EdgeOne site"),
        ({**EDGEONE, "base_urls": []}, "base_urls: must name the addresses"),
        ({"target": "tencent_cdn"}, "base_urls: must name the addresses"),
        ({**CDN, "url": URL}, "url: is for the target webhook alone"),
        ({**CDN, "token": "secret"}, "token: is for the target webhook alone"),
        ({**CDN, "zone_id": "zone-1"}, "zone_id: is for the target edgeone alone"),
        ({**CDN, "by": "cache_tag"}, "by: is for the target edgeone alone"),
        ({**CDN, "per_second": 21}, "per_second: must be at most 20"),
        ({**CDN, "api_url": "http://cdn.example.com"}, "api_url\n  Value error, must be an https address"),
    ],
)
def test_what_cannot_work_is_refused(section: dict[str, Any], message: str) -> None:
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
    # 23 widths and none, 3 formats and none.
    styles["card"] = {"widths": list(range(100, 123)), "formats": ["webp", "avif"]}
    assert settings(cdn, image_styles=styles)
    more = {**styles, "one-more": "imageMogr2/strip"}
    for purge in (cdn, edgeone):
        with pytest.raises(ValidationError, match="base_urls and image_styles make 1010 addresses of an image"):
            settings(purge, image_styles=more)
    assert settings({**edgeone, "by": "cache_tag"}, image_styles=more)


def test_ratios_and_aliases_are_among_the_addresses_of_an_image() -> None:
    process = "imageMogr2/crop/{width}x{height}/gravity/center"
    card = {"process": process, "widths": list(range(100, 110)), "formats": ["webp"], "ratios": ["1:1", "16:9"]}
    aliases = {"postgres": {"dsn": "postgresql://u@h/d", "columns": {"alias": "slug"}}}
    assert settings(
        {**CDN, "base_urls": ["https://a", "https://b", "https://c", "https://d"]}, image_styles={"card": card}
    )
    bases = [f"https://img-{number}.example.com" for number in range(6)]
    with pytest.raises(ValidationError, match="make 1200 addresses of an image"):
        settings({**CDN, "base_urls": bases}, image_styles={"card": card})
    with pytest.raises(ValidationError, match="make 1200 addresses of an image"):
        settings({**CDN, "base_urls": bases[:3]}, image_styles={"card": card}, **aliases)


def test_ratios_are_among_the_variants_of_an_image() -> None:
    ratios = [f"{number}:1" for number in range(1, 17)]
    card = {"process": "imageMogr2/crop/{width}x{height}", "widths": list(range(100, 116)), "formats": ["webp"]}
    assert settings(WEBHOOK, image_styles={"card": {**card, "ratios": ratios[:14]}})
    with pytest.raises(ValidationError, match="make 544 variants of an image, and 500 are allowed"):
        settings(WEBHOOK, image_styles={"card": {**card, "ratios": ratios}})


def test_static_credentials_of_purges_take_the_keys_of_cos() -> None:
    static = {**CDN, "credentials": {"source": "static"}}
    found = settings(static)
    assert found.purge is not None
    assert found.purge.credentials is not None
    assert getattr(found.cos.with_keys(found.purge.credentials), "secret_id", None) == found.cos.secret_id
    cos = {"bucket": "b-1250000000", "credentials": {"source": "cvm_role"}}
    with pytest.raises(ValidationError, match=r"purge\.credentials: the static source needs secret_id and secret_key"):
        settings(static, cos=cos, redis={"entry_key": "k" * 32})


def test_purges_need_redis() -> None:
    settings(WEBHOOK)
    with pytest.raises(ValidationError, match=r"purge: needs url_cache\.enabled"):
        settings(WEBHOOK, url_cache={"enabled": False})
