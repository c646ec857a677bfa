"""Active faults: matching and counting of requests."""

from gateway_dev.cos_emulator.faults import Fault, Faults, Reset


def fired(faults: Faults, method: str, key: str) -> bool:
    return faults.fire(method, key).delivery is not None


def test_times_and_skip_count_matching_requests() -> None:
    faults = Faults()
    armed = faults.add(Fault(action=Reset(), key="a/*.png", method="GET", times=2, skip=1))
    assert not fired(faults, "HEAD", "a/b.png")
    assert not fired(faults, "GET", "b.png")
    assert [fired(faults, "GET", "a/b/c.png") for _ in range(5)] == [False, True, True, False, False]
    assert (armed.matched, armed.fired) == (5, 2)


def test_times_none_fires_until_the_faults_are_cleared() -> None:
    faults = Faults()
    faults.add(Fault(action=Reset(), times=None))
    assert all(fired(faults, "GET", "k") for _ in range(5))
    faults.clear()
    assert not fired(faults, "GET", "k")


def test_the_glob_of_a_key_is_case_sensitive() -> None:
    faults = Faults()
    faults.add(Fault(action=Reset(), key="A.png"))
    assert not fired(faults, "GET", "a.png")
