"""The heartbeat: until when changes count as heard."""

from gateway.changes.heartbeat import EVERY, LEASE, Heartbeat

NEVER = float("-inf")


def test_a_lease_counts_from_the_sending_of_the_newest_heartbeat_that_came_back() -> None:
    heartbeat = Heartbeat("me", 90)
    heartbeat.begin(100)
    assert heartbeat.wait(100) == 0
    first, second = heartbeat.send(100), heartbeat.send(102)
    assert heartbeat.wait(103) == EVERY - 1
    assert heartbeat.lease_until == NEVER
    assert heartbeat.receive(second)
    assert heartbeat.lease_until == 102 + LEASE
    assert not heartbeat.receive(first), "an older one came late"
    assert not heartbeat.receive(second), "it came twice"
    assert not heartbeat.receive("other-1")
    assert heartbeat.lease_until == 102 + LEASE


def test_only_heartbeats_since_listening_began_count() -> None:
    heartbeat = Heartbeat("me", 90)
    heartbeat.begin(100)
    before = heartbeat.send(100)
    heartbeat.stop()
    heartbeat.begin(101)
    assert not heartbeat.receive(before)
    assert heartbeat.receive(heartbeat.send(101))


def test_the_age_counts_from_the_start_and_over_gaps() -> None:
    heartbeat = Heartbeat("me", 90)
    heartbeat.begin(100)
    assert heartbeat.age(101) == 11
    heartbeat.receive(heartbeat.send(101))
    heartbeat.stop()
    assert heartbeat.age(111) == 10


def test_it_is_lost_when_one_that_was_sent_has_not_come_back_within_a_lease() -> None:
    heartbeat = Heartbeat("me", 90)
    heartbeat.begin(100)
    assert not heartbeat.is_lost(1000), "none was sent: this process was busy or paused"
    first = heartbeat.send(1000)
    assert not heartbeat.is_lost(1000 + LEASE)
    assert heartbeat.is_lost(1001 + LEASE)
    second = heartbeat.send(1002)
    heartbeat.receive(second)
    assert not heartbeat.is_lost(1001 + LEASE), f"what came after {first} shows that the way is open"
    heartbeat.withdraw(heartbeat.send(1003))
    assert not heartbeat.is_lost(2000)
