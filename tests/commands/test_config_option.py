"""Mistakes in the configuration: every command prints one line each and exits with 2."""

from pathlib import Path

import pytest

from tests.commands.conftest import WriteConfig, said


async def test_each_mistake_is_one_line_that_names_its_key(write_config: WriteConfig) -> None:
    config = write_config(url_cache={"default_tll": 600}, server={"port": "a port"})
    for command in ("serve", "check"):
        output = await said(2, command, "--config", config)
        assert output.splitlines() == [
            "server.port: input should be a valid integer, unable to parse string as an integer",
            "url_cache.default_tll: there is no such key (did you mean default_ttl?)",
        ]


async def test_an_empty_configuration_names_the_required_keys() -> None:
    output = await said(2, "serve")
    assert [line.partition(":")[0] for line in output.splitlines()] == [
        "postgres.dsn",
        "cos.secret_id",
        "cos.secret_key",
        "cos.bucket",
        "No file was read",
    ]


async def test_a_missing_file_is_named(tmp_path: Path) -> None:
    output = await said(2, "serve", "--config", tmp_path / "nowhere.yaml")
    assert ("nowhere.yaml: cannot be read" in output, output.count("\n")) == (True, 1)


async def test_an_unavailable_redis_is_one_line(config_file: Path) -> None:
    environment = {"GATEWAY_REDIS__URL": "redis://127.0.0.1:1/0"}
    output = await said(1, "warm", "--top", "1", "--config", config_file, environment=environment)
    assert (output.startswith("Error: redis: "), output.count("\n")) == (True, 1)


@pytest.mark.usefixtures("images_table")
@pytest.mark.parametrize(
    ("command", "image_id", "environment", "message"),
    [
        ("url", "never-there", {}, "there is no such image"),
        ("link", "../x", {}, "an image id is 1 to 128"),
        ("url", "mine", {"GATEWAY_POSTGRES__DSN": "host=127.0.0.1 port=1"}, "Error: postgres: "),
    ],
)
async def test_an_image_that_cannot_be_read_is_one_line(
    config_file: Path, command: str, image_id: str, environment: dict[str, str], message: str
) -> None:
    output = await said(1, command, image_id, "--config", config_file, environment=environment)
    assert message in output
