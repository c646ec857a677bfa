"""``gateway url`` in a separate process."""

from pathlib import Path

import aiohttp

from tests.commands.conftest import said
from tests.conftest import Images


async def test_cos_answers_the_printed_url(config_file: Path, images: Images) -> None:
    await images.add("mine", b"mine", owner="alice", public=False)
    output = await said(0, "url", "mine", "--config", config_file)
    async with aiohttp.ClientSession() as session, session.get(output.strip()) as answer:
        assert (answer.status, await answer.read()) == (200, b"mine")


async def test_expired_credentials_are_reported_in_one_line(config_file: Path, images: Images) -> None:
    await images.add("mine", owner="alice", public=False)
    environment = {"GATEWAY_COS__TOKEN": "t", "GATEWAY_COS__TOKEN_EXPIRES_AT": "1"}
    output = await said(1, "url", "mine", "--config", config_file, environment=environment)
    assert output == (
        "Error: there are no credentials from the source static: the credentials that it gave ended at 1\n"
    )
