"""``stored-addresses.conf``: addresses of an own image proxy, as an application stored them, lead to their images."""

from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

from gateway_dev.cos_emulator.access import Credential
from tests.conftest import SECRET_ID, SECRET_KEY, Images, StartGateway
from tests.nginx.conftest import CONFIG, StartNginx, upstreams
from tests.paintings import POSTGRES, hang, paintings_table

STORED = "/api/v1/img-access/"
KEYS = ("ai_generated/通义万相/x.png", "a b+c%d#e?f.png", "plain.png", "a//b.png", "图" * 280)


async def test_stored_addresses_lead_to_their_images_and_back_to_the_application(
    start_nginx: StartNginx, start_gateway: StartGateway, images: Images, postgres_dsn: str, tmp_path: Path
) -> None:
    async with paintings_table(images, postgres_dsn):
        for number, key in enumerate(KEYS):
            await hang(images, f"image-{number}", key)
        await hang(images, "mine", "private.png", owner="alice", public=False)
        proxies = {"header": "X-User-Id", "groups_header": "X-User-Groups", "trusted_proxies": ["127.0.0.1"]}
        token = "t" * 3000
        cast("dict[str, Any]", images.cos.credentials)[SECRET_ID] = Credential(SECRET_KEY, token)
        gateway = await start_gateway(postgres=POSTGRES, access={"forwarded_user": proxies}, cos={"token": token})
        shipped = tmp_path / "stored-addresses.conf"
        shipped.write_text((CONFIG / "stored-addresses.conf").read_text())
        buffers = "proxy_buffer_size 128k; proxy_buffers 4 256k; proxy_busy_buffers_size 256k;"
        application = f"{buffers} location / {{ return 418; }}"
        site = f"server {{\n    listen 80;\n    {application}\n    <included>\n}}\n"
        http = upstreams(gateway.address) + site
        nginx = await start_nginx(http.replace("<included>", f"include {shipped};"))
        for number, key in enumerate(KEYS):
            stored, expected = STORED + quote(key), f"bytes of image-{number}".encode()
            for query in ("", "?mode=proxy", "?refresh=true", "?mode=proxy&refresh=true"):
                answer = await nginx.get(stored + query)
                assert (answer.status, answer.body) == (200, expected), stored + query
            redirected = await nginx.get(f"{stored}?mode=redirect&refresh=true")
            direct = await gateway.get(f"/a/{quote(key)}?redirect=true")
            assert (redirected.status, redirected.headers["Location"]) == (302, direct.headers["Location"])
        forged = await nginx.get(f"{STORED}private.png", X_User_Id="alice", X_User_Groups="staff")
        assert forged.status == 404, "a client names no user"
        assert (await nginx.get(f"{STORED}unknown.png")).status == 404
        assert (await nginx.get(STORED)).status == 400
        assert (await nginx.get("/orders")).status == 418
        without = await start_nginx(http.replace("<included>", ""))
        assert (await without.get(STORED + quote(KEYS[0]))).status == 418, "the way back is the include line"
