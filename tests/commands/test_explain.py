"""``gateway explain`` in a separate process."""

import json
import re
import time
from pathlib import Path

import pytest

from gateway_dev.cos_emulator.access import Credential
from gateway_dev.cos_emulator.server import CosEmulator
from tests.access.credentials import token
from tests.answering import answering
from tests.commands.conftest import WriteConfig, said
from tests.conftest import BUCKET, JWT_SECRET, SECRET_ID, SECRET_KEY, Images
from tests.processes import run_gateway


async def test_the_first_line_is_the_verdict(config_file: Path, images: Images) -> None:
    await images.add("cat", b"seventeen bytes ..")
    output = await said(0, "explain", "cat", "--config", config_file)
    assert output.splitlines()[0] == "ok    cat: 200: the client gets the image, 18 bytes, streamed by the gateway"
    sections = [line for line in output.splitlines()[1:] if line and not line.startswith(" ")]
    assert sections == ["row", "caller", "cached_url", "cos", "delivery", "kept"]
    assert "the admin port asks a running gateway" in output


async def test_a_client_that_gets_no_image_is_an_exit_code_and_no_control_character_of_a_row_is_printed(
    config_file: Path, images: Images
) -> None:
    await images.add("cat", owner="alice\x1b[2J", public=False)
    output = await said(1, "explain", "cat", "--user", "bob", "--config", config_file)
    assert output.splitlines()[0] == (
        "fail  cat: 404 image_not_found: the image is private, and bob is not the owner: the owner is alice?[2J"
    )
    assert "\x1b" not in output


async def test_json_has_the_same_verdict(config_file: Path, images: Images) -> None:
    await images.add("cat", owner="alice", public=False)
    shown = token(aud=None, iss=None)
    code, output = await run_gateway("explain", "cat", "--token", shown, "--json", "--config", str(config_file))
    explanation = json.loads(output)
    assert (code, explanation["verdict"]["served"]) == (0, True)
    assert explanation["caller"]["user"] == "alice"
    assert not any(secret in output for secret in (shown, SECRET_KEY, JWT_SECRET, "q-signature"))


@pytest.mark.parametrize(("ahead", "words"), [(600, "slow"), (-600, "fast")])
async def test_a_wrong_clock_is_named_and_corrected_as_the_gateway_does(
    write_config: WriteConfig, images: Images, ahead: int, words: str
) -> None:
    await images.add("cat")
    elsewhen = CosEmulator(
        images.cos.store,
        {SECRET_ID: Credential(SECRET_KEY)},
        default_bucket=BUCKET,
        now=lambda: time.time() + ahead,
    )
    async with elsewhen:
        config = write_config(cos={"domain": f"127.0.0.1:{elsewhen.port}"})
        output = await said(0, "explain", "cat", "--config", config)
    assert output.startswith("ok    cat: 200")
    assert re.search(rf"clock: this machine is (59\d|60\d) s {words} by COS's clock", output)
    assert "synchronize it (NTP)" in output.splitlines()[1]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("cat", "--user", "a", "--token", "b"), 2, "give one of --token, --link and --user"),
        (("a/b",), 1, "an image id is 1 to 128"),
    ],
)
async def test_wrong_arguments_are_refused(
    config_file: Path, arguments: tuple[str, ...], code: int, words: str
) -> None:
    output = await said(code, "explain", *arguments, "--config", config_file)
    assert words in output


async def test_the_identity_provider_is_asked_for_its_keys_only_to_verify_a_token(
    write_config: WriteConfig, images: Images
) -> None:
    await images.add("cat")
    async with answering() as provider:
        config = write_config(access={"jwt": {"jwks_url": f"{provider.url}/keys", "algorithms": ["ES256"]}})
        await said(0, "explain", "cat", "--config", config)
        assert not provider.seen
        await run_gateway("explain", "cat", "--token", token(), "--config", str(config))
        assert len(provider.seen) == 1
