"""``gateway warm`` in a separate process."""

from pathlib import Path

import redis

from gateway_dev.database import ImageRow
from tests.commands.conftest import said
from tests.conftest import Images
from tests.processes import run_gateway


async def test_the_ids_of_a_file_are_cached(
    config_file: Path, images: Images, tmp_path: Path, redis_client: "redis.Redis"
) -> None:
    for number in range(150):
        await images.add_row(ImageRow(f"id-{number}", None, f"k-{number}", public=True))
    ids = tmp_path / "ids.txt"
    listed = "".join(f"id-{number}\n" for number in range(150))
    ids.write_text(f"{listed}# comment\n\n  \nnever-there\nid-0\n", encoding="utf-8-sig")
    output = await said(0, "warm", "--config", config_file, "--ids", ids)
    assert output.splitlines()[-2:] == ["image_not_found: never-there", "150 cached, 1 image_not_found"]
    assert redis_client.zcard("image:refresh:queue") == 150


async def test_the_first_ids_of_each_error_are_named(config_file: Path, images: Images, tmp_path: Path) -> None:
    await images.add("a")
    ids = tmp_path / "ids.txt"
    ids.write_text("a\n../x\n\x1b[31m山\n" + "".join(f"gone-{number}\n" for number in range(6)))
    output = await said(1, "warm", "--config", config_file, "--ids", ids)
    assert output.splitlines()[-3:] == [
        "image_not_found: gone-0, gone-1, gone-2, gone-3, gone-4, ...",
        r"invalid_image_id: '../x', '\x1b[31m\u5c71'",
        "6 image_not_found, 2 invalid_image_id, 1 cached",
    ]


async def test_the_most_used_images_are_cached(config_file: Path, images: Images, redis_client: "redis.Redis") -> None:
    for image_id in "abc":
        await images.add(image_id)
    redis_client.zadd("image:index:hits", {"a": 5, "b": 3, "c": 1})
    redis_client.expire("image:index:hits", 100)
    code, output = await run_gateway("warm", "--config", str(config_file), "--top", "2")
    assert (code, output.splitlines()[-1]) == (0, "2 cached")
    assert redis_client.exists("image:url:a", "image:url:b", "image:url:c") == 2


async def test_fewer_used_images_than_requested_are_reported_and_use_of_styles_counts(
    config_file: Path, images: Images, redis_client: "redis.Redis"
) -> None:
    for image_id in "abc":
        await images.add(image_id)
    redis_client.zadd("image:index:hits", {"a": 5, "b|thumb": 4, "b|card": 3, "gone": 9})
    redis_client.expire("image:index:hits", 100)
    output = await said(0, "warm", "--config", config_file, "--top", "1000")
    assert "--top 1000: only 3 images are known to have been used" in output
    assert output.splitlines()[-1] == "2 cached, 1 image_not_found"
    assert redis_client.zscore("image:index:hits", "gone") is None
    code, output = await run_gateway("warm", "--config", str(config_file), "--top", "2")
    assert (code, output.splitlines()[-1]) == (0, "2 cached")


async def test_nothing_to_warm_is_one_line_and_options_must_fit(config_file: Path, tmp_path: Path) -> None:
    ids = tmp_path / "ids"
    ids.write_text("# none\n")
    assert (await said(0, "warm", "--config", config_file, "--ids", ids)).strip() == "nothing to warm"
    assert "either --top N or --ids FILE" in await said(2, "warm", "--config", config_file)
    assert "--used-in needs --top N" in await said(2, "warm", "--ids", config_file, "--used-in", config_file)
