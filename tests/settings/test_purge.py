"""Where changes of images are sent: what is refused, with the key that is at fault."""

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
        ({"url": "https://host/#part"}, "url\n  Value error, must be an address like"),
        ({"base_urls": ["https://img.example.com/path"]}, "base_urls.0\n  Value error, must be an address like"),
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


def test_a_token_may_be_sent_in_clear_to_this_machine() -> None:
    PurgeSettings.model_validate({"target": "webhook", "url": "http://127.0.0.1:8000/", "token": "t0ken"})


def test_purges_need_redis() -> None:
    sections = yaml.safe_load(REQUIRED) | {"purge": {"target": "webhook", "url": URL}}
    Settings.model_validate(sections)
    with pytest.raises(ValidationError, match=r"purge: needs url_cache\.enabled"):
        Settings.model_validate(sections | {"url_cache": {"enabled": False}})
