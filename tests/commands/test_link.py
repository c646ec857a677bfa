"""``gateway link`` in a separate process."""

import re
import time

import pytest

from gateway_dev.database import ImagesTable
from tests.commands.conftest import WriteConfig, said
from tests.conftest import Images, StartGateway, token_for

ACCESS = {"signed_links": {"keys": {"k1": "0123456789abcdef0123456789abcdef"}}}
WEEK = 7 * 24 * 3600


@pytest.mark.usefixtures("links_table")
async def test_the_printed_link_opens_the_image(
    write_config: WriteConfig, start_gateway: StartGateway, images: Images
) -> None:
    config, gateway = write_config(access=ACCESS), await start_gateway(access=ACCESS)
    await images.add("mine", b"mine", owner="alice", public=False)
    headers = {"Authorization": f"Bearer {token_for('alice')}"}
    killed = await gateway.request("DELETE", "/api/v1/images/mine/links", headers=headers)
    assert killed.status == 200, "a link made now is signed with the count of killings"
    for arguments, life in (((), 3600), (("--expires", "90s"), 90), (("--expires", "7d"), WEEK)):
        before = int(time.time())
        output = await said(0, "link", "mine", *arguments, "--config", config)
        expires_at = re.search(r"exp=([0-9]+)", output)
        assert expires_at is not None
        assert before + life <= int(expires_at[1]) <= time.time() + life + 1
        assert (await gateway.get(output.strip())).body == b"mine"


@pytest.mark.parametrize("expires", ["8d", "soon"])
async def test_an_invalid_life_is_reported_in_one_line(write_config: WriteConfig, expires: str) -> None:
    config = write_config(access=ACCESS)
    output = await said(2, "link", "mine", "--expires", expires, "--config", config)
    assert "is not 1s to 7d" in output


async def test_links_that_are_not_configured_are_reported_in_one_line(
    write_config: WriteConfig, images: Images, images_table: ImagesTable
) -> None:
    await images.add("mine", owner="alice", public=False)
    output = await said(1, "link", "mine", "--config", str(write_config()))
    assert "signed_links is not configured" in output
