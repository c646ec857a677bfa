"""What is served of an image whose row cannot be read, and which look-ups ask for rows meanwhile."""

from dataclasses import replace

import pytest

from gateway.changes.entry_trust import EntryTrust, Now
from gateway.presign.signer import PresignedUrl, SignedImage
from gateway.urls.outage import CachedEntry, Outage, unread_for
from tests.heard_changes import quiet_log
from tests.signed_images import signed_image
from tests.tier import NOW, record

BEFORE, AFTER = NOW - 100, NOW - 50
AT = Now(log=1000.0, cos=float(NOW))


def entry(read_at: int, key: str = "a.png", *, may_be_used: bool = True) -> CachedEntry:
    """Return an entry of the image whose row was read then, and named this key."""
    return CachedEntry(
        signed_image(record(key=key), PresignedUrl(f"{key} {read_at}", 0, 1), None, read_at), may_be_used
    )


@pytest.fixture
def outage() -> Outage:
    return Outage(EntryTrust(quiet_log()))


def served(
    outage: Outage, in_memory: CachedEntry | None, in_redis: CachedEntry | None, *, was_missing: bool = False
) -> SignedImage | None:
    """Return what is served of the entries of memory and of Redis. It is always unread."""
    image = outage.served_without_row(in_memory, in_redis, AT, was_missing=was_missing)
    assert image is None or image.unread
    return replace(image, unread=False) if image is not None else None


@pytest.mark.parametrize(
    ("in_memory", "in_redis", "expected"),
    [
        (None, None, None),
        (entry(BEFORE), None, entry(BEFORE)),
        (None, entry(BEFORE), entry(BEFORE)),
        (entry(BEFORE), entry(AFTER, "new.png"), entry(AFTER, "new.png")),
        (entry(AFTER, "new.png"), entry(BEFORE), entry(AFTER, "new.png")),
        (entry(BEFORE, may_be_used=False), entry(AFTER), entry(AFTER)),
        (entry(AFTER, may_be_used=False), entry(BEFORE), entry(BEFORE)),
        (entry(BEFORE, may_be_used=False), entry(AFTER, may_be_used=False), None),
    ],
)
def test_the_later_reading_is_served_by_a_url_that_has_not_ended(
    outage: Outage, in_memory: CachedEntry | None, in_redis: CachedEntry | None, expected: CachedEntry | None
) -> None:
    assert served(outage, in_memory, in_redis) == (expected.image if expected is not None else None)


def test_no_earlier_row_is_served_when_the_url_of_the_later_reading_has_ended(outage: Outage) -> None:
    assert served(outage, entry(AFTER, "new.png", may_be_used=False), entry(BEFORE)) is None
    assert served(outage, entry(BEFORE), entry(AFTER, "new.png", may_be_used=False)) is None


def test_an_image_that_has_changed_or_was_missing_is_not_served_from_redis(outage: Outage) -> None:
    assert served(outage, None, entry(BEFORE), was_missing=True) is None
    log = quiet_log()
    log.image_changed("a", AT.log)
    assert served(Outage(EntryTrust(log)), None, entry(BEFORE)) is None
    assert served(Outage(EntryTrust(log)), entry(BEFORE), entry(AFTER)) == entry(BEFORE).image


def test_one_look_up_at_a_time_asks_for_rows_and_none_for_a_second_after_a_failure(outage: Outage) -> None:
    assert outage.may_ask(0.0)
    assert outage.may_ask(0.0), "no failure is known"
    outage.read_failed(0.0)
    assert not outage.may_ask(0.9)
    assert outage.may_ask(1.0)
    assert not outage.may_ask(1.1), "another one asks"
    assert outage.may_ask(6.0), "its answer has not come for five seconds"
    outage.ended()
    assert outage.may_ask(6.1)
    assert outage.may_ask(6.1)


def test_an_unread_image_stays_in_memory_for_a_second() -> None:
    assert [unread_for(seconds) for seconds in (3600.0, 0.5)] == [1.0, 0.5]
