"""Faults: validation, the requests that they apply to, and alterations of an answer."""

import pytest
from pydantic import ValidationError

from gateway_dev.cos_emulator.faults import (
    Cut,
    Fault,
    Faults,
    Headers,
    Html,
    NoLength,
    Reset,
)
from gateway_dev.cos_emulator.server import CosEmulator

from .conftest import KEY, Client, RawExchange, add


@pytest.mark.parametrize(
    "wrong",
    [
        {"action": {"kind": "explode"}},
        {"action": {"kind": "cut", "at": -1}},
        {"action": {"kind": "cut"}, "times": 0},
        {"action": {"kind": "cut"}, "unknown": 1},
        {"action": {"kind": "refuse", "status": 200}},
        {},
    ],
)
def test_invalid_faults_are_rejected(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Fault.model_validate(wrong)


def fired(faults: Faults, method: str, key: str) -> bool:
    return faults.fire(method, key).delivery is not None


def test_times_and_skip_count_matching_requests() -> None:
    faults = Faults()
    armed = faults.add(Fault(action=Reset(), key="a/*.png", method="GET", times=2, skip=1))
    assert not any(fired(faults, *other) for other in (("HEAD", "a/b.png"), ("GET", "b.png"), ("GET", "A/b.png")))
    assert [fired(faults, "GET", "a/b/c.png") for _ in range(5)] == [False, True, True, False, False]
    assert (armed.matched, armed.fired) == (5, 2)
    faults.add(Fault(action=Reset(), times=None))
    assert all(fired(faults, "GET", "k") for _ in range(5))
    faults.clear()
    assert not fired(faults, "GET", "k")


@pytest.mark.usefixtures("large_object")
async def test_all_alterations_and_the_first_delivery_apply(
    client: Client, cos: CosEmulator, exchange: RawExchange
) -> None:
    """``NoLength`` was added before ``Cut``, so ``Cut`` does not apply."""
    add(cos, NoLength(cut_at=1))
    add(cos, Html(body="<p>"))
    add(cos, Headers(add=[("Set-Cookie", "a=1")]))
    add(cos, Cut(at=0))
    raw = await exchange(client.presign(KEY).removeprefix(cos.url))
    assert b"\r\nSet-Cookie: a=1\r\n" in raw
    assert raw.endswith(b"\r\n\r\n<")
    assert [armed.fired for armed in cos.faults.armed] == [1, 1, 1, 1]
