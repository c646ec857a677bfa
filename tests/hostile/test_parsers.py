"""Every parser of untrusted input, with its corpus and with inputs of hypothesis."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.hostile.targets import TARGETS, run

CORPUS = Path(__file__).parent / "corpus"
SEEDS = {name: sorted((CORPUS / name).iterdir()) for name in TARGETS}

Target = Callable[[bytes], None]


@pytest.mark.parametrize(
    ("target", "seed"),
    [pytest.param(TARGETS[name], seed, id=f"{name}-{seed.name}") for name, seeds in SEEDS.items() for seed in seeds],
)
def test_no_input_of_the_corpus_violates_an_assertion(target: Target, seed: Path) -> None:
    run(target, seed.read_bytes())


def test_every_corpus_has_a_target() -> None:
    assert {folder.name for folder in CORPUS.iterdir()} == set(TARGETS)


@pytest.mark.parametrize("name", TARGETS)
def test_no_generated_input_violates_an_assertion(name: str) -> None:
    seeds = st.sampled_from([seed.read_bytes() for seed in SEEDS[name]])
    pieces = st.lists(seeds.flatmap(_piece) | st.binary(max_size=20), max_size=6).map(b"".join)

    @settings(max_examples=150, deadline=None)
    @given(pieces | seeds)
    def try_it(data: bytes) -> None:
        run(TARGETS[name], data)

    try_it()


def _piece(seed: bytes) -> st.SearchStrategy[bytes]:
    """Return parts of a seed: tokens that parsers look for, in unexpected places."""
    ends = st.tuples(st.integers(0, len(seed)), st.integers(0, len(seed)))
    return ends.map(lambda found: seed[min(found) : max(found)])
