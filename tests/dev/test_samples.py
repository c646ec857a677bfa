"""Samples are always the same; a folder's images are found, named, and nothing else is."""

import io
import logging
import os
import re
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, features

from gateway.dev.samples import CONTENT_TYPES, SampleImage, image_id_for, sample_images, scan_images

IMAGE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@-]{0,127}")


@pytest.fixture(scope="module")
def samples() -> list[SampleImage]:
    return list(sample_images())


def test_samples_are_always_the_same(samples: list[SampleImage]) -> None:
    assert list(sample_images()) == samples


def test_samples_are_what_they_say(samples: list[SampleImage]) -> None:
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


def test_samples_have_valid_ids_of_their_own(samples: list[SampleImage]) -> None:
    assert all(IMAGE_ID.fullmatch(sample.image_id) for sample in samples)
    assert len({sample.image_id for sample in samples}) == len({sample.key for sample in samples}) == len(samples)


def grow(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def test_every_image_below_the_folder_is_found_and_nothing_else(tmp_path: Path) -> None:
    wanted = {f"picture{suffix}" for suffix in CONTENT_TYPES} | {"UPPER.JPG", "a/b/c d.png", "b (1)/照片.webp"}
    grow(tmp_path, *wanted)
    grow(tmp_path, "notes.txt", "jpg", ".hidden.jpg", ".cache/in-hidden.jpg", "a/Makefile")
    (tmp_path / "folder.jpg").mkdir()
    os.mkfifo(tmp_path / "pipe.jpg")
    found = list(scan_images(tmp_path))
    assert {image.key for image in found} == wanted
    assert all(image.path == tmp_path / image.key for image in found)
    assert {image.key: image.content_type for image in found}["UPPER.JPG"] == "image/jpeg"
    assert list(scan_images(tmp_path)) == found


def test_links_are_followed_only_within_the_folder(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    grow(root, "real.png", "sub/deep.png")
    grow(outside, "secret.png")
    (root / "alias.png").symlink_to(root / "real.png")
    (root / "leak.png").symlink_to(outside / "secret.png")
    (root / "broken.png").symlink_to(outside / "missing.png")
    (root / "leaks").symlink_to(outside)
    (root / "sub" / "loop").symlink_to(root)
    assert [image.key for image in scan_images(root)] == ["alias.png", "real.png", "sub/deep.png"]


def test_the_folder_itself_may_be_a_link(tmp_path: Path) -> None:
    grow(tmp_path / "real", "a.png")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert [image.key for image in scan_images(tmp_path / "link")] == ["a.png"]


def test_names_that_are_not_text_are_left_out_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / os.fsdecode(b"caf\xe9.jpg")).touch()
    grow(tmp_path, "good.jpg")
    with caplog.at_level(logging.WARNING):
        assert [image.key for image in scan_images(tmp_path)] == ["good.jpg"]
    assert r"not UTF-8: 'caf\udce9.jpg'" in caplog.text


def test_keys_too_long_for_cos_are_left_out_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = "/".join(["d" * 200] * 4) + "/"
    just_right, too_long = (folder + "x" * (length - len(folder) - 4) + ".png" for length in (850, 851))
    grow(tmp_path, just_right, too_long)
    with caplog.at_level(logging.WARNING):
        assert [image.key for image in scan_images(tmp_path)] == [just_right]
    assert "more than 850 bytes" in caplog.text


def test_a_folder_that_cannot_be_read_is_left_out_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    grow(tmp_path, "a.png", "gone/b.png")
    images = scan_images(tmp_path)
    assert next(images).key == "a.png"
    shutil.rmtree(tmp_path / "gone")
    assert list(images) == []
    assert "folder left out" in caplog.text


@pytest.mark.parametrize(
    ("key", "image_id"),
    [
        ("cat.jpg", "cat.jpg"),
        ("IMG_2024-01-01@home.JPG", "IMG_2024-01-01@home.JPG"),
        ("holiday/beach 1 (final).jpg", "holiday-beach-1-final-"),
        ("Café/crème.png", "Cafe-creme-"),
        ("照片/山.jpg", "image-"),
        ("_private/..x.png", "private-..x-"),
        ("x" * 200 + ".png", "x" * 115 + "-"),
        ("a-0123456789ab", "a-0123456789ab-"),
        ("..png", "image-"),
    ],
)
def test_ids_stay_near_the_name(key: str, image_id: str) -> None:
    made = image_id_for(key)
    assert made == key == image_id if image_id == key else re.fullmatch(re.escape(image_id) + "[0-9a-f]{12}", made)


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1).map(lambda s: s + ".png"))
def test_ids_are_valid_and_the_same_every_time(key: str) -> None:
    assert IMAGE_ID.fullmatch(image_id_for(key))
    assert image_id_for(key) == image_id_for(key)


@given(st.sets(st.text("aA .-_/é照", min_size=1).map(lambda s: s + ".png"), min_size=2))
def test_different_keys_have_different_ids(keys: set[str]) -> None:
    assert len({image_id_for(key) for key in keys}) == len(keys)
