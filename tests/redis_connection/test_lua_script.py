"""Lua scripts by the names of their keys and arguments, in a real Redis."""

import redis

from gateway.redis_connection.lua_script import Key, Keys, Values, lua_script


@lua_script("return {first, second, #many, many[1], #few, few[2], number, text, #others, others[3]}")
def everything(*, first: Key, many: Keys, number: float, second: Key, few: Keys, text: bytes, others: Values) -> None:
    """Return all of it; a table ends at its first nil."""


@lua_script("return {#many, #others, text}")
def nothing(*, many: Keys, text: str, others: Values) -> None:
    """Return how many there are."""


def test_each_name_has_its_value(redis_client: "redis.Redis") -> None:
    call = everything(
        first="k1",
        second="k2",
        many=["m1", "m2", "m3"],
        few=["f1", "f2"],
        number=1.5,
        text=b"\xff",
        others=[1, "b", b"c"],
    )
    answer = redis_client.eval(*call)
    assert answer == [b"k1", b"k2", 3, b"m1", 2, b"f2", b"1.5", b"\xff", 3, b"c"]


def test_a_number_of_keys_and_values_may_be_none(redis_client: "redis.Redis") -> None:
    assert redis_client.eval(*nothing(many=[], text="x", others=[])) == [0, 0, b"x"]


def test_the_keys_are_named_to_redis() -> None:
    """A Cluster chooses the node by them."""
    _, number, *keys = nothing(many=["a", "b"], text="x", others=["c"])
    assert (number, keys[:2]) == (2, ["a", "b"])
