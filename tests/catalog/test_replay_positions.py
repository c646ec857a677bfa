"""Positions in the log that a standby must have replayed before its rows are read."""

from gateway.catalog.replay_positions import ReplayPositions


def test_a_position_that_arrives_after_a_later_one_does_not_take_its_place() -> None:
    """A look-up may have read its position before a change, and get it after the notification."""
    positions = ReplayPositions(are_told=False)
    positions.changed(["sunrise"], 20)
    positions.changed(["sunrise", "aurora"], 10)
    assert (positions.of(["sunrise"]), positions.of(["aurora"])) == (20, 10)


def test_while_positions_are_unknown_only_a_server_that_is_no_standby_has_current_rows() -> None:
    """It is at the end of its timeline, whatever it has written."""
    positions = ReplayPositions(are_told=True)
    assert positions.are_in(2 * 2**64 - 1, ["sunrise"])
    assert not positions.are_in(2 * 2**64, ["sunrise"])
