"""The bound on new variants: a share for each client within the whole, and its line in the log."""

import pytest

from gateway.presign.style_variants import ImageVariant, Renditions
from gateway.settings import Live, StyleSettings
from gateway.urls.new_variants import NewVariants
from tests.tier import Clock


@pytest.fixture
def renditions() -> Live[Renditions]:
    """A style with widths, and a fixed one."""
    styles: dict[str, str | StyleSettings] = {
        "card": StyleSettings(widths=(10,), formats=("webp",)),
        "fixed": "imageMogr2/thumbnail/10x",
    }
    return Live(Renditions(styles))


def variants(number: int, rendition: str | None = "card@10.webp") -> list[ImageVariant]:
    """Return so many variants of different images."""
    return [ImageVariant(f"n{index}", rendition) for index in range(number)]


@pytest.mark.parametrize(("per_minute", "share"), [(600, 150), (100, 25), (8, 2), (4, 2), (2, 2), (1, 1)])
def test_a_client_has_a_quarter_and_two_at_least(
    renditions: Live[Renditions], clock: Clock, per_minute: int, share: int
) -> None:
    new = NewVariants(renditions, Live(per_minute), now=clock)
    assert [new.admit(variant, "a") for variant in variants(share + 1)] == [True] * share + [False]
    clock.now += 60 / share
    assert new.admit(variants(1)[0], "a")


def test_what_a_client_is_refused_is_left_to_others(renditions: Live[Renditions], clock: Clock) -> None:
    new = NewVariants(renditions, Live(8), now=clock)
    admitted = {client: [new.admit(variant, client) for variant in variants(10)].count(True) for client in "abcdef"}
    assert admitted == {"a": 2, "b": 2, "c": 2, "d": 1, "e": 1, "f": 0}


def test_four_clients_do_not_use_up_what_is_kept_for_those_that_ask_for_little(
    renditions: Live[Renditions], clock: Clock
) -> None:
    new = NewVariants(renditions, Live(600), now=clock)
    for _ in range(10):
        for client in "abcd":
            for variant in variants(200):
                new.admit(variant, client)
        clock.now += 6
        assert all(new.admit(variant, "reader") for variant in variants(2)), "while the four ask on"
    admitted = sum(new.admit(variant, f"client-{index}") for index, variant in enumerate(variants(600)))
    assert admitted <= 150 + 45, "also what is kept is bounded: it, and the whole's of six seconds"


@pytest.mark.parametrize("rendition", [None, "fixed"])
def test_originals_and_fixed_styles_are_not_bounded(renditions: Live[Renditions], rendition: str | None) -> None:
    new = NewVariants(renditions, Live(1))
    assert all(new.admit(variant, "a") for variant in variants(10, rendition))


def test_the_log_has_one_line_a_minute_that_names_who_reached_the_bound(
    renditions: Live[Renditions], clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    new = NewVariants(renditions, Live(8), now=clock)
    for client in "abcde":
        for variant in variants(4):
            new.admit(variant, client)
    assert [record.getMessage().rpartition(" ")[2] for record in caplog.records] == ["client=a"]
    clock.now += 61
    for client in "fghij":
        for variant in variants(2):
            new.admit(variant, client)
    assert [record.getMessage().rpartition(" ")[2] for record in caplog.records] == ["client=a", "client=every"]
