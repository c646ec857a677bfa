"""Positions in the log that a standby must have replayed before its rows are read."""

from gateway.catalog.replay_positions import ReplayPositions


def test_a_position_that_arrives_after_a_later_one_does_not_take_its_place() -> None:
    """A look-up may have read its position before a change, and get it after the notification."""
    positions = ReplayPositions(are_told=False)
    positions.changed(["sunrise"], 20)
    positions.changed(["sunrise", "aurora"], 10)
    assert (positions.of(["sunrise"]), positions.of(["aurora"])) == (20, 10)
