"""Mistakes in the configuration: every command prints one line each and exits with 2."""

from pathlib import Path

import pytest

from tests.commands.conftest import WriteConfig
from tests.processes import run_gateway


async def test_each_mistake_is_one_line_that_names_its_key(write_config: WriteConfig) -> None:
    config = write_config(url_cache={"default_tll": 600}, server={"port": "a port"})
    for command in ("serve", "check"):
        code, output = await run_gateway(command, "--config", str(config))
        assert code == 2
        assert output.splitlines() == [
            "server.port: input should be a valid integer, unable to parse string as an integer",
            "url_cache.default_tll: there is no such key (did you mean default_ttl?)",
        ]


async def test_an_empty_configuration_names_the_required_keys() -> None:
    code, output = await run_gateway("serve")
    assert code == 2
    assert [line.partition(":")[0] for line in output.splitlines()] == [
        "postgres.dsn",
        "cos.secret_id",
        "cos.secret_key",
        "cos.bucket",
        "No file was read",
    ]


@pytest.mark.parametrize("url", ["http://foo", "redis://:s3cr/et@127.0.0.1:6379/0", "redis://h:1/0?foo=bar"])
@pytest.mark.parametrize("command", ["serve", "check"])
async def test_an_invalid_redis_url_is_named_and_not_quoted(config_file: Path, command: str, url: str) -> None:
    code, output = await run_gateway(command, "--config", str(config_file), environment={"GATEWAY_REDIS__URL": url})
    assert (code, output.count("\n")) == (2, 1)
    assert output.startswith("redis.url: ")
    assert not any(part in output for part in ("s3cr", "et@", "foo"))


async def test_a_missing_file_is_named(tmp_path: Path) -> None:
    code, output = await run_gateway("serve", "--config", str(tmp_path / "nowhere.yaml"))
    assert (code, output.count("\n")) == (2, 1)
    assert "nowhere.yaml: cannot be read" in output


@pytest.mark.parametrize("arguments", [("queue",), ("warm", "--top", "1")])
async def test_an_unavailable_redis_is_one_line(config_file: Path, arguments: tuple[str, ...]) -> None:
    environment = {"GATEWAY_REDIS__URL": "redis://127.0.0.1:1/0"}
    code, output = await run_gateway(*arguments, "--config", str(config_file), environment=environment)
    assert code == 1
    assert "Traceback" not in output
    assert output.startswith("Error: redis: ")
    assert output.count("\n") == 1


@pytest.mark.usefixtures("images_table")
@pytest.mark.parametrize("command", ["url", "link"])
@pytest.mark.parametrize(
    ("image_id", "environment", "message"),
    [
        ("never-there", {}, "there is no such image"),
        ("../x", {}, "an image id is 1 to 128"),
        ("mine", {"GATEWAY_POSTGRES__DSN": "host=127.0.0.1 port=1"}, "Error: postgres: "),
    ],
)
async def test_an_image_that_cannot_be_read_is_one_line(
    config_file: Path, command: str, image_id: str, environment: dict[str, str], message: str
) -> None:
    code, output = await run_gateway(command, image_id, "--config", str(config_file), environment=environment)
    assert code == 1
    assert message in output
    assert "Traceback" not in output
