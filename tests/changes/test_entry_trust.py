"""Which entries of Redis are used without reading their rows, and which while no row can be read."""

import pytest

from gateway.changes.change_log import ChangeLog, Source
from gateway.changes.entry_trust import EntryTrust, Now, ReadRow
from gateway.changes.heartbeat import LEASE

COS = 1_700_000_000  # COS's clock when the log's clock is at zero
SKEW = 6  # seconds, the lease


def now(at: float) -> Now:
    """The time of both clocks."""
    return Now(at, COS + at)


def row(read_at: float, image_id: str = "a") -> ReadRow:
    """A row that was read at a time of the log's clock."""
    return ReadRow(image_id, None, int(COS + read_at))


def beat(log: ChangeLog, at: float) -> None:
    log.heartbeat(Source.ROWS, log.heartbeats[Source.ROWS].send(at))


def test_rows_read_since_changes_are_heard_are_trusted_while_heartbeats_come_back() -> None:
    log = ChangeLog([Source.ROWS], "me", 0)
    trust = EntryTrust(log)
    assert not trust.may_be_used(row(0), now(10))
    log.listens(Source.ROWS, 10)
    beat(log, 20)
    assert [trust.may_be_used(row(at), now(20)) for at in (9, 10 + SKEW - 1, 10 + SKEW)] == [False, False, True]
    assert not trust.may_be_used(row(19), now(20 + LEASE))
    assert not trust.has_changed(row(0), now(20 + LEASE)), "it may be served while no row can be read"


def test_a_row_from_before_a_change_is_used_in_no_case() -> None:
    log = ChangeLog([], "me", 0)
    trust = EntryTrust(log)
    log.image_changed("a", 100)
    for read_at, is_old in ((99, True), (100 + SKEW - 1, True), (100 + SKEW, False)):
        assert trust.has_changed(row(read_at), now(200)) is is_old
        assert trust.may_be_used(row(read_at), now(200)) is not is_old
    assert not trust.has_changed(row(0, "b"), now(200))
    # A correction of COS's clock moves the times of changes with it.
    ahead = Now(200, COS + 200 + 3600)
    assert [trust.has_changed(ReadRow("a", None, COS + at + 3600), ahead) for at in (99, 110)] == [True, False]
    # A row that was read in the future is not trusted.
    assert [trust.may_be_used(row(at), now(200)) for at in (200 + SKEW, 200 + SKEW + 1)] == [True, False]


@pytest.mark.parametrize("redis_fails", [False, True])
def test_forgotten_changes_count_once_redis_has_not_dropped_an_image(redis_fails: bool) -> None:
    """A statement that changes a million rows must not send every other image to Postgres."""
    log = ChangeLog([], "me", 0, most_kept=2)
    trust = EntryTrust(log)
    for number, image_id in enumerate("abc"):
        log.image_changed(image_id, 100 + number)
    if redis_fails:
        trust.drop_failed()
    assert [trust.has_changed(row(90, image_id), now(200)) for image_id in "abcd"] == [
        redis_fails,
        True,
        True,
        redis_fails,
    ]
    assert not trust.has_changed(row(110, "d"), now(200))


def test_rows_of_before_a_change_of_renditions_are_not_trusted_for_these() -> None:
    trust = EntryTrust(ChangeLog([], "me", 0))
    trust.reread_renditions(["thumb"], 100)
    assert not trust.may_be_used(ReadRow("a", "thumb", COS + 99), now(200))
    assert trust.may_be_used(ReadRow("a", "thumb", COS + 100 + SKEW), now(200))
    assert trust.may_be_used(row(99), now(200))
    trust.reread_all(150)
    assert not trust.may_be_used(row(149), now(200))
