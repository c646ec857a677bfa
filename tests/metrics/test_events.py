"""Events of a process, and of several processes together."""

from gateway.metrics.events import Event, EventLog, events_in, together


def test_the_last_fifty_events_are_kept() -> None:
    times = iter(range(100))
    log = EventLog(now=lambda: next(times))
    for worker in range(60):
        log.add("worker_ended", worker=worker, reason="SIGKILL")
    log.add("reloaded", keys="-")
    assert len(log.all()) == 50
    assert log.count_since("worker_ended", 50) == 10
    assert log.all()[-1] == Event("reloaded", 60, {"keys": "-"})


def test_a_reload_of_all_processes_is_one_event_and_a_later_one_another() -> None:
    reloads = [Event("reloaded", at, {"keys": "cos.secret_key"}) for at in (3, 1, 64, 500)]
    other = Event("reloaded", 2, {"keys": "logging.level"})
    found = together([reloads[0]], [("b", event) for event in [*reloads[1:], other]])
    assert [(event["at"], event["values"]["keys"]) for event in found] == [
        (2, "logging.level"),
        (3, "cos.secret_key"),
        (64, "cos.secret_key"),
        (500, "cos.secret_key"),
    ]
    ends = [Event("worker_ended", at, {"worker": 1, "reason": "SIGKILL"}) for at in (1, 2, 3)]
    found = together(ends, [(None, Event("started", 2.5))])
    assert [event["at"] for event in found] == [1, 2, 2.5, 3], "each event that this process sees counts"


def test_events_of_another_version_are_left_out() -> None:
    assert events_in([{"name": "started", "at": 5, "values": {"version": "1"}}]) == [
        Event("started", 5, {"version": "1"})
    ]
    for other in (None, ["started"], [{"name": "<img>", "at": 5}], [{"name": "started", "at": "soon"}]):
        assert events_in(other) == []
