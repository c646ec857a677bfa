"""A script finds its keys, arguments and rows by their names."""

from typing import Any

import pytest
import redis

from gateway.redis_connection.script import Script

EVERYTHING = Script(
    keys="first second *more",
    arguments="number text",
    rows="word at",
    body="return {first, second, #more, more[1] or '', number, text, #rows, rows[#rows].word, rows[#rows].at}",
)


@pytest.mark.parametrize("more", [[], ["m1", "m2", "m3"]])
def test_each_name_has_its_value(redis_client: "redis.Redis", more: list[str]) -> None:
    rows = [("a", 1), ("b", b"\xff")]
    call = EVERYTHING.command(second="k2", first="k1", more=more, text="", number=1.5, rows=rows)
    answer = redis_client.execute_command(*call)  # type: ignore[no-untyped-call]
    assert answer == [b"k1", b"k2", len(more), b"m1" if more else b"", b"1.5", b"", 2, b"b", b"\xff"]
    assert call[2 : 5 + len(more)] == (2 + len(more), "k1", "k2", *more), "a Cluster chooses the node by the keys"


def test_a_script_without_rows_gets_none(redis_client: "redis.Redis") -> None:
    call = Script(keys="key", rows="word", body="return {key, #rows}").command(key="k")
    assert redis_client.execute_command(*call) == [b"k", 0]  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("named", [{"key": "k"}, {"key": "k", "life": 1, "more": 1}, {"key": "k", "live": 1}])
def test_a_wrong_name_is_an_error_before_redis_is_asked(named: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match=r"\['key', 'life'\], not"):
        Script(keys="key", arguments="life", body="return 1").command(**named)
