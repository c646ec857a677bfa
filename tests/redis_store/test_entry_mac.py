"""The gateway's own entries are told from anybody else's."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.redis_store.entry_mac import EntryMac

ENTRY = b'1700000000 {"owner":"alice"}'
SEAL = EntryMac("secret")


def test_the_end_still_stands_first_for_scripts_to_compare() -> None:
    end, digest, body = SEAL.sign(ENTRY).split(b" ", 2)
    assert (end, body) == (b"1700000000", b'{"owner":"alice"}')
    assert len(digest) == 32


@given(st.integers(0, 10**12), st.binary(max_size=100))
def test_what_was_sealed_comes_back(end: int, body: bytes) -> None:
    entry = b"%d %s" % (end, body)
    assert SEAL.take_off(SEAL.sign(entry)) == entry


@given(st.integers(0, len(SEAL.sign(ENTRY)) - 1), st.integers(1, 255))
def test_one_other_byte_breaks_the_seal(position: int, difference: int) -> None:
    sealed = bytearray(SEAL.sign(ENTRY))
    sealed[position] ^= difference
    with pytest.raises(ValueError, match="not sealed"):
        SEAL.take_off(bytes(sealed))


@given(st.binary(max_size=200))
def test_garbage_has_no_seal(data: bytes) -> None:
    with pytest.raises(ValueError, match="not sealed"):
        SEAL.take_off(data)


def test_another_secret_is_another_seal() -> None:
    with pytest.raises(ValueError, match="not sealed"):
        EntryMac("another secret").take_off(SEAL.sign(ENTRY))
