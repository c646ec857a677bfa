"""Samples are deterministic and cover every case that the development stack should show."""

import io
import re

import pytest
from PIL import Image, features

from gateway_dev.database import ImageRow
from gateway_dev.samples import sample_images

IMAGE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@-]{0,127}")


Samples = list[tuple[ImageRow, bytes]]


@pytest.fixture(scope="module")
def samples() -> Samples:
    return list(sample_images())


def test_samples_have_the_content_type_that_they_name(samples: Samples) -> None:
    for row, data in samples:
        if row.content_type == "image/svg+xml":
            assert data.startswith(b"<svg ")
        else:
            with Image.open(io.BytesIO(data)) as picture:
                assert Image.MIME[picture.format or ""] == row.content_type
                assert (getattr(picture, "n_frames", 1) > 1) == (row.content_type == "image/gif")


def test_samples_cover_types_sizes_owners_and_awkward_keys(samples: Samples) -> None:
    types = {"image/jpeg", "image/png", "image/webp", "image/gif", "image/svg+xml"}
    assert {row.content_type for row, _ in samples} == types | ({"image/avif"} if features.check("avif") else set())
    sizes = {row.image_id: len(data) for row, data in samples}
    assert 120_000 < sizes["sunrise"] < 180_000
    assert 3_500_000 < sizes["poster-large"] < 4_500_000
    assert {row.owner for row, _ in samples if not row.public} == {"alice", "bob"}
    assert {row.owner for row, _ in samples if row.public} == {"alice", "bob"}
    keys = "".join(row.key for row, _ in samples)
    assert set(" +%()#&?照") <= set(keys)


def test_samples_have_valid_and_unique_ids(samples: Samples) -> None:
    assert all(IMAGE_ID.fullmatch(row.image_id) for row, _ in samples)
    assert len({row.image_id for row, _ in samples}) == len({row.key for row, _ in samples}) == len(samples)
