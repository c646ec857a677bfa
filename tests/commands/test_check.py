"""``gateway check`` in a separate process."""

import asyncio
import os
import re
import sys
from pathlib import Path

import pytest

from gateway_dev.cos_emulator.access import Credential
from gateway_dev.cos_emulator.faults import Fault, Refuse
from gateway_dev.cos_emulator.processed_answers import ProcessingOptions
from gateway_dev.cos_emulator.purge_services import PurgeServices
from gateway_dev.cos_emulator.server import CosEmulator
from tests.commands.conftest import WriteConfig, said
from tests.conftest import BUCKET, SECRET_ID, SECRET_KEY, Images, StartGateway
from tests.limits import LIMIT
from tests.processes import gateway_process, run_gateway
from tests.stories.test_variants import photo

SOURCE_DOWN = {
    "GATEWAY_COS__CREDENTIALS": '{"source": "cvm_role", "metadata_url": "http://127.0.0.1:1"}',
    "GATEWAY_REDIS__ENTRY_KEY": 32 * "k",
}


async def test_every_dependency_is_reported_when_all_work(config_file: Path, images: Images) -> None:
    await images.add("a")
    output = await said(0, "check", "--config", config_file)
    assert [line.split()[:2] for line in output.splitlines()] == [
        ["ok", "configuration:"],
        ["ok", "signature:"],
        ["ok", "credentials:"],
        ["ok", "redis:"],
        ["ok", "invalidations:"],
        ["ok", "postgres:"],
        ["ok", "changes:"],
        ["ok", "cos"],
        ["ok", "clock:"],
        ["ok", "open"],
    ]
    assert "the row a was read, as " in output
    assert f"cos {BUCKET}: GET 206 and HEAD 200 at http://127.0.0.1:{images.cos.port}, row a" in output


@pytest.mark.usefixtures("images_table")
async def test_a_closed_pipe_ends_the_output_without_an_error(config_file: Path) -> None:
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
    _, errors = await asyncio.wait_for(process.communicate(), LIMIT)
    assert (process.returncode, errors) == (1, b""), "there is no image"


@pytest.mark.usefixtures("images_table")
async def test_a_table_without_a_servable_row_fails(config_file: Path) -> None:
    output = await said(1, "check", "--config", config_file)
    assert "fail  postgres: the query finds no active image" in output
    assert "no image to read yet" in output
    assert "no image to probe" in await said(1, "check", "--config", config_file, "--deep")


@pytest.mark.parametrize(
    ("variable", "value", "advice"),
    [
        ("GATEWAY_COS__SECRET_ID", "unknown", "COS does not know cos.secret_id"),
        ("GATEWAY_COS__DOMAIN", "127.0.0.1:1", "check cos.region, cos.bucket, cos.domain"),
        ("GATEWAY_REDIS__URL", "redis+cluster://127.0.0.1:1", "check redis.url"),
        ("GATEWAY_COS__TOKEN_EXPIRES_AT", "1700000000", "ended at 1700000000"),
        ("GATEWAY_COS__SECRET_KEY", "YOUR-SECRET-KEY", "cos.secret_key: still the placeholder"),
    ],
)
async def test_a_failure_comes_with_advice(
    config_file: Path, images: Images, variable: str, value: str, advice: str
) -> None:
    await images.add("a")
    output = await said(1, "check", "--config", config_file, environment={variable: value})
    failed = [line.split()[1] for line in output.splitlines() if line.startswith("fail")]
    assert len(failed) == (2 if value in ("YOUR-SECRET-KEY", "1700000000") else 1)
    assert "no image to read yet" not in output
    assert advice in output
    assert all(line.startswith(("ok ", "fail ", "       ")) for line in output.splitlines()), (
        "findings and advice alone"
    )
    assert "q-signature" not in output


@pytest.mark.parametrize(
    ("environment", "exit_code", "failed"),
    [
        (
            {
                "GATEWAY_COS__DOMAIN": "127.0.0.1:1",
                "GATEWAY_REDIS__URL": "redis://127.0.0.1:1/0",
                "GATEWAY_POSTGRES__DSN": "host=127.0.0.1 port=1",
            },
            0,
            ["redis:", "postgres:", "cos"],
        ),
        (SOURCE_DOWN, 0, ["credentials:", "cos"]),
        ({"GATEWAY_COS__TOKEN_EXPIRES_AT": "1700000000"}, 1, ["credentials:", "cos"]),
        ({"GATEWAY_COS__SECRET_KEY": "wrong"}, 1, ["cos"]),
        ({"GATEWAY_POSTGRES__TABLE": "pictures"}, 1, ["postgres:"]),
        ({"GATEWAY_REDIS__URL": "redis://redis.invalid:6379/0"}, 1, ["names:", "redis:"]),
        ({"GATEWAY_REDIS__URL": "redis+sentinel://a.invalid,b.invalid/main"}, 1, ["names:", "redis:"]),
        ({"GATEWAY_REDIS__URL": "redis+sentinel://a.invalid,127.0.0.1:1/main"}, 0, ["redis:"]),
        ({"GATEWAY_POSTGRES__DSN": "host=a.invalid,b.invalid dbname=app"}, 1, ["names:", "postgres:"]),
        ({"GATEWAY_COS__DOMAIN": "cos.invalid"}, 1, ["names:", "cos"]),
    ],
)
async def test_before_a_start_a_server_that_does_not_answer_is_no_failure_but_a_name_that_nobody_knows_is(
    config_file: Path, images: Images, environment: dict[str, str], exit_code: int, failed: list[str]
) -> None:
    """``serve`` starts without them, so an init container must let it. Names that no resolver knows are a mistake."""
    await images.add("a")
    output = await said(exit_code, "check", "--config", config_file, "--before-start", environment=environment)
    assert [line.split()[1] for line in output.splitlines() if line.startswith("fail")] == failed


async def test_a_fallback_picture_is_reported(config_file: Path, images: Images, tmp_path: Path) -> None:
    await images.add("a")
    (tmp_path / "picture.svg").write_text("<svg/>")
    for name, expected, line in (
        ("picture.svg", 0, "ok    fallback picture: can be sent in place of an image"),
        ("missing.svg", 1, "fail  fallback picture: image_proxy.fallback.path: there is no such file"),
    ):
        environment = {"GATEWAY_IMAGE_PROXY__FALLBACK__PATH": str(tmp_path / name)}
        code, output = await run_gateway("check", "--config", str(config_file), environment=environment)
        assert (code, line in output) == (expected, True), output


async def test_the_target_of_purges_is_tried_without_a_purge(write_config: WriteConfig, images: Images) -> None:
    await images.add("a")
    async with PurgeServices({SECRET_ID: Credential(SECRET_KEY)}) as services:
        purge = {"target": "tencent_cdn", "base_urls": ["https://img.example.com"], "api_url": services.url}
        output = await said(0, "check", "--config", str(write_config(purge=purge)))
        assert "purge: tencent_cdn: addresses left today: 10,000 of 10,000 (mainland)" in output
        own = {**purge, "credentials": {"source": "static", "secret_id": "other", "secret_key": "secret-of-purges"}}
        output = await said(1, "check", "--config", str(write_config(purge=own)))
        assert "credentials purge: source static" in output
        assert "purge: tencent_cdn: error AuthFailure.SecretIdNotFound" in output
        assert "check purge.credentials" in output
        assert "secret-of-purges" not in output
        assert services.purges == []


async def test_nginx_files_of_another_release_are_named(config_file: Path, images: Images, tmp_path: Path) -> None:
    await images.add("a")
    (tmp_path / "conf.d").mkdir()
    for name in ("gateway.conf", "\x1b[31mred.conf"):
        (tmp_path / "conf.d" / name).write_text("# image-gateway nginx files, version 0\n")
    output = await said(0, "check", "--config", config_file, "--nginx", tmp_path)
    assert "warn  nginx: files of another version" in output
    assert "conf.d/gateway.conf has 0" in output
    assert "conf.d/?[31mred.conf has 0" in output
    forwarded = {"GATEWAY_ACCESS__FORWARDED_USER__TRUSTED_PROXIES": '["10.0.0.0/8"]'}
    output = await said(1, "check", "--config", config_file, "--nginx", tmp_path, environment=forwarded)
    assert "fail  nginx users: no file of nginx sets X-User-Id: clients send their own" in output
    nowhere = tmp_path / "nowhere"
    code, output = await run_gateway("check", "--config", str(config_file), "--nginx", str(nowhere))
    assert (code, f"fail  nginx: no {nowhere}" in output) == (1, True), output


async def test_one_webp_and_one_avif_are_made(write_config: WriteConfig, images: Images, cos: CosEmulator) -> None:
    await images.add("cat", photo(), content_type="image/jpeg")
    config = write_config(image_styles={"card": {"widths": [640, 160], "formats": ["avif", "webp"]}})
    without_redis = {"GATEWAY_REDIS__URL": "redis://127.0.0.1:1/0"}  # of which variants are independent
    output = await said(1, "check", "--config", config, environment=without_redis)
    assert "ok    variant card@160.webp: COS made it of row cat" in output
    assert "ok    variant card@160.avif: COS made it of row cat" in output
    cos.processing.options = ProcessingOptions(avif_off=frozenset({BUCKET}))
    output = await said(0, "check", "--config", config)
    assert "warn  variant card@160.avif: COS does not make it of row cat" in output
    assert "switch AVIF on for the bucket" in output


async def test_deep_probes_follow_the_findings(write_config: WriteConfig, images: Images) -> None:
    """Of a style the narrowest result of each format and each ratio."""
    await images.add("a", photo(), content_type="image/jpeg")
    cover = {
        "process": "imageMogr2/crop/{width}x{height}",
        "ratios": ["16:9", "1:1"],
        "widths": [16, 64],
        "formats": ["webp"],
    }
    config = write_config(image_styles={"small": "imageMogr2/thumbnail/16x", "cover": cover})
    arguments = ("check", "--config", str(config), "--deep", "--probe", "3", "--probe", "8")
    output = await said(0, *arguments, "--probe", "9")
    probed = re.findall(r"^ok +9 style (\S+): GET", output, re.MULTILINE)
    assert probed == ["cover@16.webp", "cover@16.original", "cover@16.16x9.webp", "cover@16.1x1.webp", "small"]
    assert f"probes of {BUCKET} with the image a" in output
    assert "ok     3 HEAD with a GET URL: expected 403; got 403 (request " in output
    assert "q-sign" not in output
    images.cos.faults.add(Fault(action=Refuse(status=403, code="AccessDenied"), skip=2, times=None))
    output = await said(1, *arguments)
    assert "warn  variant cover@16.webp: COS does not make it of row a: COS answered 403 AccessDenied" in output
    assert "fail   3 GET with a GET URL: expected 200; got 403 AccessDenied" in output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--probe", "3"), "need --deep"),
        (("--deep", "--style", "huge"), "image_styles has no huge"),
        (("--deep", "--probe", "20"), "20"),
    ],
)
async def test_wrong_options_of_deep_are_refused(
    config_file: Path, images: Images, arguments: tuple[str, ...], words: str
) -> None:
    await images.add("a")
    output = await said(2, "check", "--config", config_file, *arguments)
    assert words in output


async def test_what_the_canary_sees_is_a_finding(
    write_config: WriteConfig, start_gateway: StartGateway, images: Images
) -> None:
    await images.add("a")
    front = (await start_gateway()).ports.public
    config = write_config(canary={"via": [front, "http://127.0.0.1:1"], "public": "a", "private": "b"})
    output = await said(1, "check", "--config", config)
    assert f"ok    from outside: {front} public: 200 with the image" in output
    assert f"warn  from outside: {front} private_anonymous: the canary is wrong: the table has no row" in output
    assert "fail  from outside: http://127.0.0.1:1 public: no connection to 127.0.0.1:1: " in output


@pytest.mark.parametrize("key", ["dsn", "listen_dsn"])
async def test_a_password_where_the_host_belongs_is_never_printed(
    key: str, write_config: WriteConfig, images: Images
) -> None:
    """Neither by a check, nor by a start that goes on without Postgres."""
    await images.add("a")
    config = write_config(postgres={key: "postgresql://app@s3cretPassword/app", "timeout": 2})
    _, output = await run_gateway("check", "--config", str(config))
    assert "has no address" in output
    assert "s3cret" not in output
    _, output = await run_gateway("explain", "a", "--config", str(config))
    assert "s3cret" not in output
    async with gateway_process("serve", "--config", str(config)) as running:
        await running.line_with("its name is not shown")
        running.terminate()
        await running.exit_code()
    assert not [line for line in running.lines if "s3cret" in line]
