"""The commands, run as an operator runs them."""

import asyncio
import json
import math
import os
import resource
import signal
import sys
import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import redis
import yaml

from gateway.cos_emulator.content import SyntheticContent
from gateway.cos_emulator.faults import Fault, Hang, Refuse
from gateway.cos_emulator.server import CosEmulator
from gateway.dev.database import ImageRow, ImagesTable
from gateway.dev.welcome import token_for
from tests.conftest import BUCKET, Images
from tests.processes import gateway_process, run_gateway
from tests.waiting import until

ROOT = Path(__file__).parent.parent
# What a make around the tests tells its children is not for the make under test.
WITHOUT_A_MAKE_AROUND = {"MAKEFLAGS": "", "MAKELEVEL": "0"}

RawSettings = dict[str, dict[str, Any]]


@pytest.fixture
def config_file(raw_settings: RawSettings, tmp_path: Path) -> Path:
    """The test's configuration as a YAML file."""
    file = tmp_path / "gateway.yaml"
    file.write_text(yaml.safe_dump(raw_settings))
    return file


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("changes", ['table_name CONSTANT text := \'"app"."pictures"\'', "id_column CONSTANT text := 'nr'"]),
        ("links", ["CREATE TABLE IF NOT EXISTS image_gateway_links"]),
        ("images", ['CREATE TABLE IF NOT EXISTS "app"."pictures"', '"nr" text PRIMARY KEY']),
    ],
)
async def test_sql_for_the_configured_table_is_printed_as_one_transaction(
    config_file: Path, raw_settings: RawSettings, name: str, words: list[str]
) -> None:
    raw_settings["postgres"] |= {"table": "app.pictures", "columns": {"id": "nr"}}
    config_file.write_text(yaml.safe_dump(raw_settings))
    code, output = await run_gateway("sql", name, "--config", str(config_file))
    assert code == 0
    assert all(word in output for word in words)
    statements = [line for line in output.splitlines() if line and not line.startswith("--")]
    assert (statements[0], statements[-1]) == ("BEGIN;", "COMMIT;")


class TestMistakesInTheConfiguration:
    """One line per mistake that names the key; no traceback, and never the value."""

    async def test_a_misspelled_key_stops_the_start(self, config_file: Path, raw_settings: RawSettings) -> None:
        raw_settings["url_cache"] = {"default_tll": 600}
        raw_settings["server"]["port"] = "a port"
        config_file.write_text(yaml.safe_dump(raw_settings))
        for command in ("serve", "check"):
            code, output = await run_gateway(command, "--config", str(config_file))
            assert code == 2
            assert output.splitlines() == [
                "server.port: input should be a valid integer, unable to parse string as an integer",
                "url_cache.default_tll: there is no such key (did you mean default_ttl?)",
            ]

    async def test_nothing_configured_names_what_is_missing(self) -> None:
        code, output = await run_gateway("serve")
        assert code == 2
        assert [line.partition(":")[0] for line in output.splitlines()] == [
            "postgres.dsn",
            "cos.secret_id",
            "cos.secret_key",
            "cos.bucket",
        ]

    @pytest.mark.parametrize("url", ["http://foo", "redis://:s3cr/et@127.0.0.1:6379/0", "redis://h:1/0?foo=bar"])
    @pytest.mark.parametrize("command", ["serve", "check"])
    async def test_a_redis_url_that_is_none_is_named_and_not_quoted(
        self, config_file: Path, command: str, url: str
    ) -> None:
        code, output = await run_gateway(command, "--config", str(config_file), environment={"GATEWAY_REDIS__URL": url})
        assert (code, output.count("\n")) == (2, 1)
        assert output.startswith("redis.url: ")
        assert not any(part in output for part in ("s3cr", "et@", "foo"))

    async def test_a_missing_file_is_named(self, tmp_path: Path) -> None:
        code, output = await run_gateway("serve", "--config", str(tmp_path / "nowhere.yaml"))
        assert (code, output.count("\n")) == (2, 1)
        assert "nowhere.yaml: cannot be read" in output

    async def test_a_port_in_use_is_told_in_a_line(self, config_file: Path) -> None:
        async with gateway_process("serve", "--config", str(config_file)) as running:
            port = running.public.rpartition(":")[2]
            environment = {"GATEWAY_SERVER__PORT": port}
            code, output = await run_gateway("serve", "--config", str(config_file), environment=environment)
        assert code == 1
        assert f"the gateway cannot start: server.host and server.port: cannot listen on 127.0.0.1:{port}: " in output
        assert "Traceback" not in output

    @pytest.mark.parametrize("section", ["server", "admin"])
    async def test_a_host_that_is_none_of_ours_is_named_with_its_key(self, config_file: Path, section: str) -> None:
        environment = {f"GATEWAY_{section.upper()}__HOST": "foo.invalid"}
        code, output = await run_gateway("serve", "--config", str(config_file), environment=environment)
        assert code == 1
        assert f"{section}.host and {section}.port: cannot listen on foo.invalid:0: " in output
        assert "Traceback" not in output


class TestServe:
    """The process under an orchestrator."""

    async def test_sigterm_during_a_download_lets_it_complete(
        self, config_file: Path, images: Images, cos: CosEmulator
    ) -> None:
        content = SyntheticContent(40_000_000)
        cos.store.put(BUCKET, "big.png", content, content_type="image/png")
        await images.add_row(ImageRow("big", None, "big.png", public=True))
        environment = {"GATEWAY_SERVER__SHUTDOWN_GRACE": "30"}
        async with (
            gateway_process("serve", "--config", str(config_file), environment=environment) as running,
            aiohttp.ClientSession(read_bufsize=4096) as session,
            session.get(running.public + "/i/big") as answer,
        ):
            received = await answer.content.readexactly(1_000_000)
            running.terminate()
            async with asyncio.timeout(5):
                while (await _ready(running.public)).get("status") != "not_ready":
                    await asyncio.sleep(0.01)
            received += await answer.content.read()
            assert received == content.read(0, 40_000_000)
            assert await running.exit_code() == 0
        assert "Traceback" not in "".join(running.lines)

    async def test_a_transfer_that_outlasts_the_grace_is_cut(
        self, config_file: Path, images: Images, cos: CosEmulator
    ) -> None:
        cos.store.put(BUCKET, "slow.png", SyntheticContent(1_000_000), content_type="image/png")
        await images.add_row(ImageRow("slow", None, "slow.png", public=True))
        cos.faults.add(Fault(action=Hang(at=500_000)))
        environment = {"GATEWAY_SERVER__SHUTDOWN_GRACE": "0.2", "GATEWAY_IMAGE_PROXY__TIMEOUT": "60"}
        async with (
            gateway_process("serve", "--config", str(config_file), environment=environment) as running,
            aiohttp.ClientSession() as session,
            session.get(running.public + "/i/slow") as answer,
        ):
            await answer.content.readexactly(500_000)
            running.terminate()
            with pytest.raises(aiohttp.ClientError):
                await answer.content.read()
            assert await running.exit_code() == 0
        assert any("shutdown_grace is over" in line for line in running.lines)

    @pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
    async def test_who_is_told_twice_does_not_wait(
        self, config_file: Path, images: Images, cos: CosEmulator, signum: signal.Signals
    ) -> None:
        cos.store.put(BUCKET, "slow.png", SyntheticContent(1_000_000), content_type="image/png")
        await images.add_row(ImageRow("slow", None, "slow.png", public=True))
        cos.faults.add(Fault(action=Hang(at=500_000)))
        environment = {"GATEWAY_SERVER__SHUTDOWN_GRACE": "60", "GATEWAY_IMAGE_PROXY__TIMEOUT": "60"}
        async with (
            gateway_process("serve", "--config", str(config_file), environment=environment) as running,
            aiohttp.ClientSession() as session,
            session.get(running.public + "/i/slow") as answer,
        ):
            await answer.content.readexactly(500_000)
            running.process.send_signal(signum)
            await running.line_with("draining")
            running.process.send_signal(signum)
            with pytest.raises(aiohttp.ClientError):
                await answer.content.read()
            async with asyncio.timeout(5):
                assert await running.exit_code() == 0
        assert any("second signal to stop" in line for line in running.lines)
        assert "Traceback" not in "".join(running.lines)

    async def test_sighup_drains_and_a_second_one_does_not_hurry(
        self, config_file: Path, images: Images, cos: CosEmulator
    ) -> None:
        """A terminal that closes sends it, and so does its shell."""
        content = SyntheticContent(40_000_000)
        cos.store.put(BUCKET, "big.png", content, content_type="image/png")
        await images.add_row(ImageRow("big", None, "big.png", public=True))
        async with (
            gateway_process("serve", "--config", str(config_file)) as running,
            aiohttp.ClientSession(read_bufsize=4096) as session,
            session.get(running.public + "/i/big") as answer,
        ):
            received = await answer.content.readexactly(1_000_000)
            running.process.send_signal(signal.SIGHUP)
            await running.line_with("draining")
            running.process.send_signal(signal.SIGHUP)
            received += await answer.content.read()
            assert received == content.read(0, 40_000_000)
            assert await running.exit_code() == 0
        assert "Traceback" not in "".join(running.lines)

    async def test_under_nohup_sighup_is_ignored(self, config_file: Path) -> None:
        nohup = ("nohup", sys.executable, "-m", "gateway")
        async with gateway_process("serve", "--config", str(config_file), program=nohup) as running:
            running.process.send_signal(signal.SIGHUP)
            assert (await _ready(running.public))["status"] == "ready"
            running.terminate()
            assert await running.exit_code() == 0

    async def test_an_idle_gateway_ends_at_once(self, config_file: Path) -> None:
        async with (
            gateway_process("serve", "--config", str(config_file)) as running,
            aiohttp.ClientSession() as session,
        ):
            await (await session.get(running.public + "/healthz")).read()  # leaves a kept-alive connection behind
            running.terminate()
            async with asyncio.timeout(3):
                assert await running.exit_code() == 0

    async def test_it_takes_the_open_files_it_may_have(self, config_file: Path) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (512, hard))
        try:
            environment = {"GATEWAY_SERVER__MAX_STREAMS": str(10**9)}
            async with gateway_process("serve", "--config", str(config_file), environment=environment) as running:
                if hard != resource.RLIM_INFINITY:
                    assert resource.prlimit(running.process.pid, resource.RLIMIT_NOFILE) == (hard, hard)
                assert "server.max_streams" in await running.line_with("too few open files")
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    async def test_log_lines_are_json_with_the_request_id(
        self, config_file: Path, images: Images, cos: CosEmulator
    ) -> None:
        await images.add("a")
        cos.faults.add(Fault(action=Refuse(status=403, code="AccessDenied"), times=None))
        async with gateway_process("serve", "--config", str(config_file)) as running:
            async with aiohttp.ClientSession() as session:
                await (await session.get(running.public + "/i/a", headers={"X-Request-Id": "trace-1234"})).read()
            running.terminate()
            await running.exit_code()
        lines = [json.loads(line) for line in running.lines]
        failed = next(line for line in lines if line["event"].startswith("request failed"))
        assert failed["request_id"] == "trace-1234"
        assert failed["level"] == "warning"
        assert "q-signature" not in "".join(running.lines)

    async def test_it_starts_without_redis_and_postgres(self, config_file: Path) -> None:
        environment = {
            "GATEWAY_REDIS__URL": "redis://127.0.0.1:1/0",
            "GATEWAY_POSTGRES__DSN": "host=127.0.0.1 port=1 dbname=none",
        }
        async with gateway_process("serve", "--config", str(config_file), environment=environment) as running:
            assert await _ready(running.public) == {
                "status": "not_ready",
                "checks": {"redis": "down", "postgres": "down", "cos": "ok"},
            }


class TestCheck:
    """The doctor."""

    async def test_all_is_well(self, config_file: Path, images: Images) -> None:
        await images.add("a")
        code, output = await run_gateway("check", "--config", str(config_file))
        assert code == 0
        assert [line.split()[:2] for line in output.splitlines()] == [
            ["ok", "configuration:"],
            ["ok", "redis:"],
            ["ok", "postgres:"],
            ["ok", "cos:"],
        ]

    @pytest.mark.usefixtures("images_table")
    async def test_a_reader_that_leaves_early_ends_the_output_and_nothing_else(self, config_file: Path) -> None:
        """``check | head -1``."""
        reader, writer = os.pipe()
        os.close(reader)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "gateway", "check", "--config", str(config_file)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=writer,
            stderr=asyncio.subprocess.PIPE,
        )
        os.close(writer)
        _, errors = await asyncio.wait_for(process.communicate(), 30)
        assert (process.returncode, errors) == (0, b"")

    @pytest.mark.usefixtures("images_table")
    async def test_an_empty_table_is_no_fault(self, config_file: Path) -> None:
        code, output = await run_gateway("check", "--config", str(config_file))
        assert code == 0
        assert "no image to read yet" in output

    @pytest.mark.parametrize(
        ("variable", "value", "advice"),
        [
            ("GATEWAY_COS__SECRET_KEY", "wrong", "cos.secret_key does not belong to cos.secret_id"),
            ("GATEWAY_COS__SECRET_ID", "unknown", "COS does not know cos.secret_id"),
            ("GATEWAY_COS__DOMAIN", "127.0.0.1:1", "check cos.region, cos.bucket, cos.domain"),
            ("GATEWAY_REDIS__URL", "redis://127.0.0.1:1/0", "check redis.url"),
            ("GATEWAY_REDIS__URL", "redis+cluster://127.0.0.1:1", "check redis.url"),
            ("GATEWAY_POSTGRES__TABLE", "pictures", "check postgres.dsn, postgres.table"),
            ("GATEWAY_POSTGRES__COLUMNS__KEY", "path", "check postgres.dsn, postgres.table"),
            ("GATEWAY_POSTGRES__DSN", "host=127.0.0.1 port=1", "check postgres.dsn"),
            ("GATEWAY_COS__TOKEN_EXPIRES_AT", "1700000000", "cos.token_expires_at is past"),
            ("GATEWAY_COS__SECRET_KEY", "YOUR-SECRET-KEY", "cos.secret_key: still the placeholder"),
        ],
    )
    async def test_it_says_what_is_wrong_and_how_to_mend_it(
        self, config_file: Path, images: Images, variable: str, value: str, advice: str
    ) -> None:
        await images.add("a")
        code, output = await run_gateway("check", "--config", str(config_file), environment={variable: value})
        assert code == 1
        failed = [line.split()[1] for line in output.splitlines() if line.startswith("fail")]
        assert len(failed) == (2 if value == "YOUR-SECRET-KEY" else 1)
        assert "no image to read yet" not in output
        assert advice in output
        assert "Traceback" not in output
        assert "q-signature" not in output


class TestWarmAndQueue:
    """Filling the cache, and looking after the queue."""

    async def test_ids_of_a_file_are_cached(
        self, config_file: Path, images: Images, tmp_path: Path, redis_client: "redis.Redis"
    ) -> None:
        for number in range(150):
            await images.add_row(ImageRow(f"id-{number}", None, f"k-{number}", public=True))
        ids = tmp_path / "ids.txt"
        ids.write_text("# comment\n" + "".join(f"id-{number}\n" for number in range(150)) + "\n  \nnever-there\nid-0\n")
        code, output = await run_gateway("warm", "--config", str(config_file), "--ids", str(ids))
        assert code == 0, output
        assert output.splitlines()[-2:] == ["image_not_found: never-there", "150 cached, 1 image_not_found"]
        assert redis_client.zcard("image:refresh:queue") == 150

    async def test_ids_that_cannot_be_cached_are_named_the_first_few_of_each_kind(
        self, config_file: Path, images: Images, tmp_path: Path
    ) -> None:
        await images.add("a")
        ids = tmp_path / "ids.txt"
        ids.write_text("a\n../x\n\x1b[31m山\n" + "".join(f"gone-{number}\n" for number in range(6)))
        code, output = await run_gateway("warm", "--config", str(config_file), "--ids", str(ids))
        assert code == 1
        assert output.splitlines()[-3:] == [
            "image_not_found: gone-0, gone-1, gone-2, gone-3, gone-4, ...",
            r"invalid_image_id: '../x', '\x1b[31m\u5c71'",
            "6 image_not_found, 2 invalid_image_id, 1 cached",
        ]

    async def test_the_most_used_are_cached(
        self, config_file: Path, images: Images, redis_client: "redis.Redis"
    ) -> None:
        for image_id in "abc":
            await images.add(image_id)
        redis_client.zadd("image:index:hits", {"a": 5, "b": 3, "c": 1})
        redis_client.expire("image:index:hits", 100)
        code, output = await run_gateway("warm", "--config", str(config_file), "--top", "2")
        assert (code, output.splitlines()[-1]) == (0, "2 cached")
        assert redis_client.exists("image:url:a", "image:url:b", "image:url:c") == 2

    async def test_fewer_used_images_than_were_asked_for_are_said_to_be_so_and_styles_count(
        self, config_file: Path, images: Images, redis_client: "redis.Redis"
    ) -> None:
        for image_id in "abc":
            await images.add(image_id)
        redis_client.zadd("image:index:hits", {"a": 5, "b|thumb": 4, "b|card": 3, "gone": 9})
        redis_client.expire("image:index:hits", 100)
        code, output = await run_gateway("warm", "--config", str(config_file), "--top", "1000")
        assert code == 0
        assert "--top 1000: only 3 images are known to have been used" in output
        assert output.splitlines()[-1] == "2 cached, 1 image_not_found"
        assert redis_client.zscore("image:index:hits", "gone") is None
        code, output = await run_gateway("warm", "--config", str(config_file), "--top", "2")
        assert (code, output.splitlines()[-1]) == (0, "2 cached")

    async def test_reasons_that_others_wrote_are_shown_as_they_are(
        self, config_file: Path, redis_client: "redis.Redis"
    ) -> None:
        entry = {"reason": "[/red] \x1b[31m", "at": math.inf, "attempts": 1}
        redis_client.hset("image:refresh:dead", mapping={"broken": json.dumps(entry), b"a\0b": "x"})
        code, output = await run_gateway("queue", "dead", "--config", str(config_file))
        assert code == 0, output
        assert "[/red] ?[31m" in output

    async def test_one_of_the_two_is_wanted(self, config_file: Path) -> None:
        code, output = await run_gateway("warm", "--config", str(config_file))
        assert code == 2
        assert "either --top N or --ids FILE" in output

    async def test_the_queue_is_listed_and_its_dead_requeued(
        self, config_file: Path, redis_client: "redis.Redis"
    ) -> None:
        redis_client.zadd("image:refresh:queue", {"waiting": time.time() + 500, "styled|thumb": time.time() + 900})
        entry = {"reason": "no such key", "at": 1_700_000_000, "attempts": 5}
        redis_client.hset("image:refresh:dead", "broken", json.dumps(entry))
        for arguments in ([], ["list"]):
            code, output = await run_gateway("queue", "--config", str(config_file), *arguments)
            assert code == 0, output
            assert "2 queued, 0 due, 1 dead" in output
            assert "waiting" in output
            assert "thumb" in output
        code, output = await run_gateway("queue", "list", "--most", "1", "--config", str(config_file))
        assert (code, "styled" in output) == (0, False), output
        code, output = await run_gateway("queue", "dead", "--config", str(config_file))
        assert code == 0, output
        for text in ("broken", "no such key", "2023-11-14 22:13:20"):
            assert text in output
        named = ["--config", str(config_file)]
        for arguments, number in ((["requeue", *named], 1), ([*named, "requeue"], 0)):
            code, output = await run_gateway("queue", *arguments)
            assert (code, output.strip()) == (0, f"{number} requeued")
        assert redis_client.zscore("image:refresh:queue", "broken") is not None

    async def test_redis_away_is_said_in_a_line(self, config_file: Path) -> None:
        for arguments in (["queue"], ["warm", "--top", "1"]):
            code, output = await run_gateway(
                *arguments, "--config", str(config_file), environment={"GATEWAY_REDIS__URL": "redis://127.0.0.1:1/0"}
            )
            assert code == 1
            assert "Traceback" not in output
            assert output.startswith("Error: ")


@pytest.mark.xdist_group("dev")  # they want the same ports first
class TestDev:
    """``make run``: everything embedded."""

    async def test_it_serves_every_image_of_a_folder_and_leaves_nothing_behind(self, tmp_path: Path) -> None:
        folder = tmp_path / "pictures"
        (folder / "trip one").mkdir(parents=True)
        (folder / "trip one" / "day+1.png").write_bytes(b"first")
        (folder / "plain.jpg").write_bytes(b"second")
        (folder / "notes.txt").write_bytes(b"no image")
        for _ in range(2):  # the second run finds its data again
            async with _dev("--images", str(folder), "--state", str(tmp_path / "state")) as running:
                async with aiohttp.ClientSession() as session:
                    answer = await session.get(running.public + "/i/plain.jpg")
                    assert (answer.status, await answer.read()) == (200, b"second")
                    url = (await running.line_with("/i/trip-one")).split()[0]
                    assert await (await session.get(url)).read() == b"first"
                    ready = await _ready(running.admin)
                    assert ready == {"status": "ready", "checks": {"redis": "ok", "postgres": "ok", "cos": "ok"}}
                running.process.send_signal(signal.SIGINT)
                assert await running.exit_code() == 0
        assert "everything is stopped" in running.lines[-1]
        assert not [command for command in _commands() if str(tmp_path) in command]

    async def test_a_signal_to_make_run_stops_everything(self, tmp_path: Path) -> None:
        """As in ``make run & kill $!``: make passes SIGTERM on to its child and to nobody else."""
        (tmp_path / "pictures").mkdir()
        make = (
            *("make", "--silent", "--file", str(ROOT / "Makefile"), "--assume-old", "install", "run"),
            *(f"BIN={Path(sys.executable).parent}", f"IMAGES={tmp_path / 'pictures'}"),
        )
        async with gateway_process(program=make, cwd=tmp_path, environment=WITHOUT_A_MAKE_AROUND) as running:
            running.terminate()
            await running.exit_code()
            await until(lambda: not [command for command in _commands() if str(tmp_path) in command], seconds=15)
        assert "everything is stopped" in "".join(running.lines)

    async def test_servers_named_in_the_environment_are_used(
        self, tmp_path: Path, redis_url: str, postgres_dsn: str
    ) -> None:
        (tmp_path / "pictures").mkdir()
        (tmp_path / "pictures" / "a.gif").write_bytes(b"GIF89a")
        environment = {"GATEWAY_REDIS__URL": redis_url, "GATEWAY_POSTGRES__DSN": postgres_dsn}
        async with _dev(
            "--images", str(tmp_path / "pictures"), "--state", str(tmp_path / "state"), environment=environment
        ) as running:
            async with aiohttp.ClientSession() as session:
                assert (await session.get(running.public + "/i/a.gif")).status == 200
            running.terminate()
            assert await running.exit_code() == 0
        written = {file.name: file.read_text() for file in (tmp_path / "state").glob("*/*")}
        assert written.keys() == {"gateway.yaml", "link-key", "images.tsv", "lock"}
        assert redis_url not in written["gateway.yaml"]
        assert postgres_dsn not in written["gateway.yaml"]

    async def test_links_open_private_images_until_they_are_killed(
        self, tmp_path: Path, redis_url: str, postgres_dsn: str, images_table: ImagesTable
    ) -> None:
        (tmp_path / "pictures").mkdir()
        (tmp_path / "pictures" / "a.gif").write_bytes(b"GIF89a")
        environment = {"GATEWAY_REDIS__URL": redis_url, "GATEWAY_POSTGRES__DSN": postgres_dsn}
        arguments = ("--images", str(tmp_path / "pictures"), "--state", str(tmp_path / "state"))
        links: list[str] = []
        for _ in range(2):  # what was made in the first run is good in the second
            async with _dev(*arguments, environment=environment) as running, aiohttp.ClientSession() as session:
                await asyncio.to_thread(images_table.execute, "UPDATE images SET is_public = false")
                shown = await running.line_with("&sig=")
                (config,) = (tmp_path / "state").glob("*/gateway.yaml")
                assert f"link a.gif --config {config}" in await running.line_with("gateway link")
                code, printed = await run_gateway("link", "a.gif", "--config", str(config), environment=environment)
                assert code == 0, printed
                links += [shown.removeprefix(running.public), printed.strip()]
                await _answers(session, running.public + "/i/a.gif", 404)
                for link in links:
                    await _answers(session, running.public + link, 200)
                if len(links) == 4:
                    token = {"Authorization": f"Bearer {token_for('alice')}"}
                    await session.delete(running.public + "/api/v1/images/a.gif/links", headers=token)
                    for link in links:
                        await _answers(session, running.public + link, 401)
                running.terminate()
                assert await running.exit_code() == 0

    async def test_without_images_and_links_there_is_none_to_show(
        self, tmp_path: Path, redis_url: str, postgres_dsn: str
    ) -> None:
        (tmp_path / "pictures").mkdir()
        environment = {
            "GATEWAY_REDIS__URL": redis_url,
            "GATEWAY_POSTGRES__DSN": postgres_dsn,
            "GATEWAY_ACCESS__SIGNED_LINKS": "null",
        }
        arguments = ("--images", str(tmp_path / "pictures"), "--state", str(tmp_path / "state"))
        async with _dev(*arguments, environment=environment) as running:
            await running.line_with("Ctrl-C stops everything")
            running.terminate()
            assert await running.exit_code() == 0
        said = "".join(running.lines)
        assert "there are no images to show yet" in said
        assert "signed link" not in said


def _dev(*arguments: str, environment: dict[str, str] | None = None) -> Any:
    return gateway_process("dev", *arguments, environment={"COLUMNS": "200", **(environment or {})})


async def _answers(session: aiohttp.ClientSession, url: str, status: int) -> None:
    """Wait until this is the answer: rows that were changed just now are forgotten in a moment."""
    async with asyncio.timeout(5):
        while (answer := await session.get(url)).status != status:
            await asyncio.sleep(0.01)
        await answer.read()


async def _ready(base: str) -> dict[str, Any]:
    async with aiohttp.ClientSession() as session, session.get(base + "/readyz") as answer:
        body: dict[str, Any] = await answer.json()
        return body


def _commands() -> list[str]:
    return [
        (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        for entry in Path("/proc").iterdir()
        if entry.name.isdigit() and (entry / "cmdline").exists()
    ]
