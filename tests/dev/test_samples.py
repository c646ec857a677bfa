"""Samples are deterministic and cover every case that the development stack should show."""

import io
import re

import pytest
from PIL import Image, features

from gateway.dev.samples import SampleImage, sample_images

IMAGE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@-]{0,127}")


@pytest.fixture(scope="module")
def samples() -> list[SampleImage]:
    return list(sample_images())


def test_every_call_draws_the_same_samples(samples: list[SampleImage]) -> None:
    assert list(sample_images()) == samples


def test_samples_have_the_content_type_that_they_name(samples: list[SampleImage]) -> None:
    for sample in samples:
        if sample.content_type == "image/svg+xml":
            assert sample.data.startswith(b"<svg ")
        else:
            with Image.open(io.BytesIO(sample.data)) as picture:
                assert Image.MIME[picture.format or ""] == sample.content_type
                assert (getattr(picture, "n_frames", 1) > 1) == (sample.content_type == "image/gif")


def test_samples_cover_types_sizes_owners_and_awkward_keys(samples: list[SampleImage]) -> None:
    types = {"image/jpeg", "image/png", "image/webp", "image/gif", "image/svg+xml"}
    assert {sample.content_type for sample in samples} == types | ({"image/avif"} if features.check("avif") else set())
    sizes = {sample.image_id: len(sample.data) for sample in samples}
    assert 120_000 < sizes["sunrise"] < 180_000
    assert 3_500_000 < sizes["poster-large"] < 4_500_000
    assert {sample.owner for sample in samples if not sample.public} == {"alice", "bob"}
    assert {sample.owner for sample in samples if sample.public} == {"alice", "bob"}
    keys = "".join(sample.key for sample in samples)
    assert set(" +%()#&?照") <= set(keys)


def test_samples_have_valid_and_unique_ids(samples: list[SampleImage]) -> None:
    assert all(IMAGE_ID.fullmatch(sample.image_id) for sample in samples)
    assert len({sample.image_id for sample in samples}) == len({sample.key for sample in samples}) == len(samples)


def test_a_style_cuts_no_word_and_no_part_of_the_badge_off(samples: list[SampleImage]) -> None:
    data = {sample.image_id: sample.data for sample in samples}
    assert b"<text" not in data["vector"]
    with Image.open(io.BytesIO(data["badge"])) as badge:
        left, top, right, bottom = badge.getchannel("A").getbbox() or (0, 0, 0, 0)
        assert max(right - left, bottom - top) < min(badge.size) * 3 / 4  # what 4:3 leaves of a square
