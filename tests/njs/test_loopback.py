"""nginx's own server on the loopback interface: nginx asks there for changes, and operators for what it knows."""

import json
import re

import aiohttp
import pytest

from gateway.delivery.nginx_files import VERSION
from gateway_dev.processes import free_port
from tests.nginx.conftest import Nginx
from tests.njs.conftest import Scripted, StartNjs, site
from tests.njs.test_changes import cached_after_start
from tests.waiting import until


@pytest.fixture
async def nginx(start_njs: StartNjs, gateway: Scripted) -> Nginx:
    """nginx with ``gateway-cache.conf`` and buffers of an application, which hears of changes."""
    inherited = "proxy_buffers 4 32k; proxy_busy_buffers_size 64k; proxy_temp_file_write_size 64k;\n"
    nginx = await start_njs(inherited + site("gateway-cache.conf", [gateway.address], [gateway.address]))
    await cached_after_start(nginx, gateway)
    return nginx


async def get(nginx: Nginx, path: str, **headers: str) -> tuple[int, str]:
    """Return status and body."""
    conf = (nginx.folder / "image-gateway" / "changes.conf").read_text()
    (address,) = re.findall(r"^    listen (.*);", conf, flags=re.MULTILINE)
    async with aiohttp.ClientSession() as session, session.get(f"http://{address}{path}", headers=headers) as answer:
        return answer.status, await answer.text()


async def test_nobody_else_gets_a_list_of_changes(nginx: Nginx, gateway: Scripted) -> None:
    asked: tuple[tuple[str, dict[str, str], int], ...] = (
        ("/changes?since=0", {}, 403),
        ("/changes?since=0", {"X-Image-Key": ""}, 403),
        ("/changes?since=0", {"X-Image-Key": "undefined"}, 403),
        ("/changes?since=0", {"Host": "attacker.example"}, 421),
        ("/status", {"Host": "attacker.example:9089"}, 421),
        ("/", {}, 404),
    )
    for path, headers, status in asked:
        assert (await get(nginx, path, **headers))[0] == status, (path, headers)
    assert "0" not in [question["since"] for question in gateway.asked]


async def test_operators_see_what_nginx_knows(nginx: Nginx, gateway: Scripted) -> None:
    async def knows() -> dict[str, object]:
        status, body = await get(nginx, "/status", Host="localhost")
        assert status == 200
        found: dict[str, object] = json.loads(body)
        assert set(found) == {"heard_ms_ago", "trouble", "floor", "version"}
        return found

    async def is_well() -> bool:
        return (await knows())["trouble"] is None

    await until(is_well)
    found = await knows()
    assert found["version"] == VERSION
    assert isinstance(found["floor"], int)
    assert isinstance(found["heard_ms_ago"], int)
    gateway.status = 400

    async def is_in_trouble() -> bool:
        return (await knows())["trouble"] == "a gateway answers with status 400"

    await until(is_in_trouble)


async def test_before_the_first_answer_nothing_is_known(start_njs: StartNjs, gateway: Scripted) -> None:
    gateway.is_silent = True
    debian = "error_log /var/log/nginx/error.log;\n"  # errors alone
    nginx = await start_njs(debian + site("gateway-cache.conf", [gateway.address], [gateway.address]))
    log = nginx.folder / "log" / "error.log"
    await until(lambda: "does not hear of changes" in log.read_text())
    found = json.loads((await get(nginx, "/status"))[1])
    assert found == {"heard_ms_ago": None, "trouble": "no gateway answers", "floor": 0, "version": VERSION}


async def test_a_wrong_port_is_one_line_in_the_log(start_njs: StartNjs, gateway: Scripted) -> None:
    http = site("gateway-cache.conf", [gateway.address], [gateway.address])
    port = free_port()
    nginx = await start_njs(
        http, {"js_var $image_changes_address 127.0.0.1:": f"js_var $image_changes_address 127.0.0.1:{port}; #"}
    )
    await until(lambda: f"uses no copies: nginx cannot ask at 127.0.0.1:{port}" in nginx.log)

    async def is_asking() -> bool:
        return "cannot ask" in json.loads((await get(nginx, "/status"))[1])["trouble"]

    for _ in range(20):
        assert await is_asking()
    lines = [line for line in nginx.log.splitlines() if "[notice]" not in line]
    assert len(lines) <= 2, lines
    assert not gateway.asked


async def test_an_error_in_the_files_is_one_line_in_the_log(start_njs: StartNjs, gateway: Scripted) -> None:
    http = site("gateway-cache.conf", [gateway.address], [gateway.address])
    nginx = await start_njs(http, {"let question = happen({kind: 'ask'});": "let question = missing();"})
    await until(lambda: "nginx cannot ask for changes" in nginx.log)
    for _ in range(20):
        assert json.loads((await get(nginx, "/status"))[1])["heard_ms_ago"] is None
    assert len([line for line in nginx.log.splitlines() if "[notice]" not in line]) == 1
