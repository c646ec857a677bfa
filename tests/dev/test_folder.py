"""``scan_images`` finds the images of a folder and reports every other file."""

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_dev.folder import IMAGE_TYPES, LeftOut, image_id_for, scan_images

IMAGE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@-]{0,127}")
NOBODY = 65534


def create_files(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def scanned(root: Path) -> tuple[list[str], LeftOut]:
    """Return the keys of the images found, and the files left out."""
    left_out = LeftOut(list)
    return [image.key for image in scan_images(root, left_out)], left_out


@contextmanager
def unprivileged() -> Iterator[None]:
    """Give up the rights of root, who can read every file."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def test_every_image_below_the_folder_is_found_and_no_other_file(tmp_path: Path) -> None:
    images = {f"picture{suffix}" for suffix in IMAGE_TYPES} | {"UPPER.JPG", "a/b/c d.png", "b (1)/照片.webp"}
    create_files(tmp_path, *images)
    create_files(tmp_path, "notes.txt", "jpg", ".hidden.jpg", ".cache/in-hidden.jpg", "a/Makefile")
    (tmp_path / "folder.jpg").mkdir()
    left_out = LeftOut(list)
    found = list(scan_images(tmp_path, left_out))
    assert {image.key for image in found} == images
    assert {image.key: image.content_type for image in found}["UPPER.JPG"] == "image/jpeg"
    assert list(scan_images(tmp_path, LeftOut(list))) == found
    assert left_out == {
        "hidden folder": [".cache"],
        "hidden file": [".hidden.jpg"],
        "name without an image's suffix": ["jpg", "notes.txt", "a/Makefile"],
    }


def test_links_are_followed_only_within_the_folder(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    create_files(root, "real.png", "sub/deep.png")
    create_files(outside, "secret.png")
    (root / "alias.png").symlink_to(root / "real.png")
    (root / "leak.png").symlink_to(outside / "secret.png")
    (root / "broken.png").symlink_to(root / "missing.png")
    (root / "circle.png").symlink_to(root / "circle.png")
    (root / "leaks").symlink_to(outside)
    (root / "sub" / "loop").symlink_to(root)
    keys, left_out = scanned(root)
    assert keys == ["alias.png", "real.png", "sub/deep.png"]
    assert left_out == {
        "link that leads out of the folder": ["leak.png"],
        "link that leads nowhere": ["broken.png", "circle.png"],
        "link to a folder": ["leaks", "sub/loop"],
    }


def test_the_folder_itself_may_be_a_link(tmp_path: Path) -> None:
    create_files(tmp_path / "real", "a.png")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert scanned(tmp_path / "link") == (["a.png"], {})


def test_special_files_are_left_out(tmp_path: Path) -> None:
    create_files(tmp_path, "a.png")
    os.mkfifo(tmp_path / "pipe.jpg")
    assert scanned(tmp_path) == (["a.png"], {"not a regular file": ["pipe.jpg"]})


def test_names_that_are_not_utf_8_are_left_out(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.jpg")
    create_files(tmp_path, "good.jpg", name)
    assert scanned(tmp_path) == (["good.jpg"], {"name that is not UTF-8": [name]})


def test_keys_too_long_for_cos_are_left_out(tmp_path: Path) -> None:
    folder = "/".join(["d" * 200] * 4) + "/"
    longest, too_long = (folder + "x" * (length - len(folder) - 4) + ".png" for length in (850, 851))
    create_files(tmp_path, longest, too_long)
    assert scanned(tmp_path) == ([longest], {"path of more than 850 bytes": [too_long]})


def test_unreadable_files_and_folders_are_left_out() -> None:
    with tempfile.TemporaryDirectory() as name:  # other users cannot enter pytest's folders
        folder = Path(name)
        folder.chmod(0o755)
        create_files(folder, "closed.png", "open.png", "shut/a.png")
        (folder / "to-closed.png").symlink_to(folder / "shut" / "a.png")
        (folder / "closed.png").chmod(0)
        (folder / "shut").chmod(0)
        with unprivileged():
            keys, left_out = scanned(folder)
        (folder / "shut").chmod(0o755)
    assert keys == ["open.png"]
    assert left_out == {"cannot be read": ["closed.png", "to-closed.png"], "folder that cannot be read": ["shut"]}


def test_a_folder_that_is_removed_during_the_scan_is_left_out(tmp_path: Path) -> None:
    create_files(tmp_path, "a.png", "gone/b.png")
    left_out = LeftOut(list)
    images = scan_images(tmp_path, left_out)
    assert next(images).key == "a.png"
    shutil.rmtree(tmp_path / "gone")
    assert list(images) == []
    assert left_out == {"folder that cannot be read": ["gone"]}


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
def test_ids_resemble_the_key(key: str, image_id: str) -> None:
    """A changed id is the given start and a hash of 12 digits."""
    actual = image_id_for(key)
    if image_id == key:
        assert actual == key
    else:
        assert re.fullmatch(re.escape(image_id) + "[0-9a-f]{12}", actual)


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1).map(lambda s: s + ".png"))
def test_ids_are_valid_and_the_same_every_time(key: str) -> None:
    assert IMAGE_ID.fullmatch(image_id_for(key))
    assert image_id_for(key) == image_id_for(key)


@given(st.sets(st.text("aA .-_/é照", min_size=1).map(lambda s: s + ".png"), min_size=2))
def test_different_keys_have_different_ids(keys: set[str]) -> None:
    assert len({image_id_for(key) for key in keys}) == len(keys)
