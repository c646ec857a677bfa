"""Problems with nginx by its questions for changes, and by the requests that come through its cache."""

import pytest

from gateway.metrics.nginx_last_asked import NginxLastAsked


@pytest.mark.parametrize(
    ("asked", "cache_seconds", "up_seconds", "expected"),
    [
        ({}, None, 999, []),
        ({}, 4, 999, ["nginx_unheard"]),
        ({}, 4, 29, []),  # the gateway has just started
        ({"a": 0.2}, 4, 999, []),
        ({"a": 31}, None, 999, ["nginx_silent"]),
        ({"a": 31}, 4, 999, ["nginx_unheard", "nginx_silent"]),
        ({"a": 31, "b": 0.2}, 4, 999, ["nginx_silent"]),
        (dict.fromkeys("abcdefgh", 40), None, 999, ["nginx_silent"] * 3),
    ],
)
def test_a_silent_nginx_is_named_and_a_cache_that_hears_of_no_change_is_worse(
    asked: dict[str, float], cache_seconds: float | None, up_seconds: float, expected: list[str]
) -> None:
    now = 0.0
    nginx = NginxLastAsked(lambda: now)
    for name, seconds in sorted(asked.items(), key=lambda known: -known[1]):
        now = up_seconds - seconds
        nginx.asks(name)
    if cache_seconds is not None:
        now = up_seconds - cache_seconds
        nginx.sends_copies()
    now = up_seconds
    found = nginx.symptoms()
    nginx.hears_all = False
    assert nginx.symptoms() == [], "it may ask another worker"
    assert [symptom.name for symptom in found] == expected
    assert all((symptom.level == "bad") == (symptom.name == "nginx_unheard") for symptom in found)


def test_no_other_name_pushes_out_an_nginx_that_still_asks() -> None:
    now = 1000.0
    nginx = NginxLastAsked(lambda: now)
    nginx.asks("edge")
    for number in range(1000):
        nginx.asks(f"invented-{number}")
    assert len(nginx.seconds()) == 100
    assert "edge" in nginx.seconds()
    now += 61
    nginx.asks("edge")
    nginx.asks("late")
    assert {"edge", "late"} <= set(nginx.seconds())
    assert len(nginx.seconds()) == 100
