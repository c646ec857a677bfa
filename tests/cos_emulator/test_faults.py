"""Validation of faults."""

import pytest
from pydantic import ValidationError

from gateway_dev.cos_emulator.faults import Fault


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
