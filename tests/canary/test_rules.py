"""What an answer to the canary means."""

from dataclasses import replace

import pytest

from gateway.canary.rules import Known, Seen, judge
from gateway.metrics.canary import Check

PUBLIC = Known("public", 17, '"a"')
PRIVATE = Known("private", 17, '"a"')
WHOLE = Seen(200, "", 0.1, 17, '"a"', "image/png", None)


@pytest.mark.parametrize(
    ("check", "known", "seen", "is_up", "what"),
    [
        ("public", PUBLIC, WHOLE, True, "200 with the image"),
        ("public", PUBLIC, replace(WHOLE, age=30), True, "a copy 30 s old"),
        ("public", PUBLIC, replace(WHOLE, etag='W/"a"'), True, "200 with the image"),
        ("public", Known("unknown"), WHOLE, True, "200 with the image"),
        ("public", PUBLIC, Seen(None, "no answer within 5 s"), False, "no answer"),
        ("public", PUBLIC, Seen(404), False, "404 instead of 200"),
        ("public", PUBLIC, Seen(302), False, "302 instead of 200"),
        ("public", PUBLIC, replace(WHOLE, problem="the body breaks off"), False, "breaks off"),
        ("public", PUBLIC, replace(WHOLE, length=16), False, "16 bytes; the gateway knows 17"),
        ("public", PUBLIC, replace(WHOLE, etag='"b"', age=9), False, "another entity tag, a copy 9 s old"),
        ("public", PUBLIC, replace(WHOLE, etag=None), False, "another entity tag"),
        ("public", PUBLIC, replace(WHOLE, content_type="text/html"), False, "text/html instead of an image"),
        ("private_anonymous", PRIVATE, Seen(404), True, "404 for a caller without credentials"),
        ("private_anonymous", PRIVATE, Seen(401), True, "401 for a caller without credentials"),
        ("private_anonymous", PRIVATE, Seen(403), False, "403 instead of 401 or 404"),
        ("private_anonymous", PRIVATE, Seen(502), False, "502 instead of 401 or 404"),
        ("private_anonymous", PRIVATE, WHOLE, False, "gets a private image"),
        ("private_anonymous", PRIVATE, Seen(302), False, "gets a private image"),
        ("private_link", PRIVATE, WHOLE, True, "200 with the image"),
        ("private_link", PRIVATE, Seen(401), False, "401 instead of 200"),
    ],
)
def test_an_answer_means(check: Check, known: Known, seen: Seen, is_up: bool, what: str) -> None:
    verdict = judge(check, known, [seen], was_up=False)
    assert verdict.is_up is is_up
    assert what in verdict.what


def test_a_row_that_never_fitted_is_the_canary_s_own_fault_and_one_that_has_gone_is_not() -> None:
    rows = [Known("private"), Known("missing"), Known("not served")]
    assert [judge("public", known, [Seen(404)], was_up=False).is_up for known in rows] == [None] * 3
    assert judge("private_anonymous", PUBLIC, [WHOLE], was_up=True).is_up is None, "a private row that is public"
    verdict = judge("public", Known("missing"), [Seen(404)], was_up=True)
    assert verdict.is_up is False
    assert "row level security" in verdict.what


@pytest.mark.parametrize(
    ("statuses", "is_up", "what"),
    [
        ((404, 200, 404, 200), True, "200 with the token, 404 without it"),
        ((404, 200, 404, 200, 200), True, "200 with the token"),
        ((404, 200, 404, 200, 404), False, "drops the cookie"),
        ((404, 404, 404, 404), False, "drops Authorization"),
        ((404, 404, 404, 200), False, "keeps a 404"),
        ((404, 200, 200, 200), False, "keeps a private answer by its address"),
        ((200, 200, 200, 200), False, "keeps a private answer by its address"),
        ((404, 401, 404, 401), None, "refuses the token"),
        ((404, 502, 404, 502), False, "502 instead of 200"),
    ],
)
def test_answers_with_and_without_a_token_mean(statuses: tuple[int, ...], is_up: bool | None, what: str) -> None:
    asked = [WHOLE if status == 200 else Seen(status) for status in statuses]
    verdict = judge("private_token", PRIVATE, asked, was_up=False)
    assert (verdict.is_up, what in verdict.what) == (is_up, True), verdict.what


@pytest.mark.parametrize(
    ("taken", "other", "is_up"), [("webp", "png", True), ("webp", "webp", False), ("png", "png", True)]
)
def test_one_format_for_all_is_a_front_that_ignores_vary(taken: str, other: str, is_up: bool) -> None:
    asked = [WHOLE, *(replace(WHOLE, content_type=f"image/{name}") for name in (taken, other))]
    assert judge("public", PUBLIC, asked, was_up=True).is_up is is_up
