"""The shell blocks of pages that set a server up, pasted in order: a folder is the root, and nginx is Debian's."""

import asyncio
import os
import re
import shutil
import sys
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from gateway_dev.processes import free_port
from tests.certificates import write_certificate
from tests.config.files import CONFIG, read
from tests.conftest import Images
from tests.njs.conftest import NGINX

# What a page says -> what runs, since it needs root, another machine or the hand of a person. {root} is the folder.
SUBSTITUTIONS: Final = (
    ("/opt/", "{root}/opt/"),
    ("/etc/", "{root}/etc/"),
    ("/var/cache/", "{root}/var/cache/"),
    ("/usr/local/sbin/", "{root}/sbin/"),
    ("/usr/bin/python3", "python3"),
    (" -g image-gateway ", " "),
    # The person edits the file, pastes the values, and logs in again for an upgrade.
    ("config/gateway.yaml ", "{root}/edited.yaml "),
    (r"/dev/stdin (\S+/((?!admin)\w+__\w+))", r"{root}/values/\2 \1"),
    ("read -rs DSN", "DSN=$OWNER"),
    (r"(?m)^(cp -p \S+gateway\.yaml)", r"cd {root}; \1"),
    # A shell that a person types into goes on after a difference.
    (r"(?m)^diff .*", r"\g<0> || true"),
)
# Programs that need root, a running systemd, a package index or another machine; {python} is this environment's.
STAND_INS: Final = {
    "apt-get": "exit 0",
    "curl": "exit 0",
    # There is no tag, and what is checked out is a whole commit.
    "git": '[ "$1" = checkout ] && [ ${#2} = 40 ]',
    "journalctl": 'echo \'"level": "error"\'',
    "make": "exit 0",
    "scp": "exit 0",
    "systemctl": 'echo "systemctl $@"',
    "useradd": "exit 0",
    "python3": "mkdir -p $3/bin && printf '#!/bin/sh\\nexec {python} -m gateway \"$@\"\\n' >$3/bin/image-gateway"
    " && printf '#!/bin/sh\\n' >$3/bin/pip && chmod +x $3/bin/*",
    "psql": '{python} -c "import psycopg2, sys; c = psycopg2.connect(sys.argv[1]); c.autocommit = True; '
    'c.cursor().execute(open(sys.argv[2]).read())" "$1" "$5"',
    "nginx": "rm -rf {root}/tried && cp -r {root}/etc/nginx {root}/tried"
    " && sed -i -E {ports} -e 's#/(var|etc)/#{root}/\\1/#' {root}/tried/*.conf {root}/tried/*/*"
    " && exec {nginx} -t -c {root}/tried/nginx.conf",
}
# As Debian's package leaves it, apart from the folders of a user who is not root.
DEBIAN: Final = """load_module /usr/lib/nginx/modules/ngx_http_js_module.so;
pid {root}/pid;
error_log {root}/error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {root}/body;
    proxy_temp_path {root}/proxy;
    fastcgi_temp_path {root}/fastcgi;
    uwsgi_temp_path {root}/uwsgi;
    scgi_temp_path {root}/scgi;
    include {root}/tried/conf.d/*.conf;
    include {root}/tried/sites-enabled/*;
}}
"""


@dataclass(frozen=True)
class Server:
    """A server whose root is a folder."""

    root: Path
    dsn: str

    @property
    def sites(self) -> Path:
        """The folder of nginx's sites."""
        return self.root / "etc/nginx/conf.d"

    async def paste(self, blocks: Sequence[str]) -> str:
        """Paste the blocks into one shell that ends at the first command that fails; return what it prints."""
        text = "\n".join(blocks)
        for said, runs in SUBSTITUTIONS:
            # A path that an earlier line made one of the root stays.
            text = re.sub(said, runs.replace("{root}", str(self.root)), text)
        environment = {
            "PATH": f"{self.root}/sbin:{os.environ['PATH']}",
            "HOME": str(self.root),
            "OWNER": self.dsn,
            "EDITOR": "true",
            "IMAGE_GATEWAY": f"{self.root}/opt/image-gateway/bin/image-gateway",
            "IMAGE_GATEWAY_CONFIG": f"{self.root}/etc/image-gateway/gateway.yaml",
            "GATEWAY_SECRETS_DIR": f"{self.root}/etc/image-gateway/secrets",
        }
        shell = await asyncio.create_subprocess_exec(
            *("bash", "-e", "-o", "pipefail", "-c", text),
            cwd=self.root,
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        printed = (await asyncio.wait_for(shell.communicate(), 120))[0].decode()
        assert shell.returncode == 0, printed
        return printed


@pytest.fixture
async def server(raw_settings: dict[str, dict[str, Any]], images: Images, tmp_path: Path) -> Server:
    """A bare Debian with nginx's package, the archives of two releases, and a configuration as a person edits it."""
    await images.add("cat")
    root = tmp_path
    for name in ("opt", "sbin", "values", "etc/nginx/conf.d", "etc/nginx/sites-enabled", "etc/nginx/tls", "var/cache"):
        (root / name).mkdir(parents=True)
    for name in ("etc/systemd/system", "etc/prometheus", "var/log/nginx"):
        (root / name).mkdir(parents=True)
    (root / "etc/nginx/nginx.conf").write_text(DEBIAN.format(root=root))
    (root / "etc/nginx/sites-enabled/default").write_text("server { listen 80 default_server; }\n")
    for file, name in zip(write_certificate(root, "img.example.com"), ("fullchain.pem", "privkey.pem"), strict=True):
        shutil.copy(file, root / "etc/nginx/tls" / name)
    for version in ("0.2.0", "0.3.0"):
        with tarfile.open(root / f"image-gateway-{version}-server.tar.gz", "w:gz") as archive:
            archive.add(CONFIG, f"image-gateway-{version}/config")
    (root / "tests/upgrade").mkdir(parents=True)
    (root / "tests/upgrade/previous-release").write_text(read("tests/upgrade/previous-release"))
    dsn = str(raw_settings["postgres"]["dsn"])
    for section, key in (("postgres", "dsn"), ("redis", "url"), ("cos", "secret_id"), ("cos", "secret_key")):
        (root / "values" / f"{section}__{key}").write_text(str(raw_settings[section].pop(key)))
    (root / "values/access__jwt__secret").write_text("0123456789abcdef" * 4)
    raw_settings.get("access", {}).pop("jwt", None)
    (root / "edited.yaml").write_text(yaml.safe_dump(raw_settings))
    # Each port that nginx listens on, on a free one of the loopback interface.
    ports = " ".join(
        f"-e 's/^( *)listen ([0-9.]+:)?{port}\\b/\\1listen 127.0.0.1:{free_port()}/'" for port in (80, 443, 9089)
    )
    for name, script in STAND_INS.items():
        text = script.replace("{root}", str(root)).replace("{python}", sys.executable)
        (root / "sbin" / name).write_text(f"#!/bin/sh\n{text.replace('{ports}', ports).replace('{nginx}', NGINX)}\n")
        (root / "sbin" / name).chmod(0o755)
    return Server(root, dsn)


def blocks(page: str) -> list[str]:
    """Return the shell blocks of a page of docs, in order."""
    return re.findall(r"^```sh\n(.*?)^```", read(f"docs/{page}"), flags=re.DOTALL | re.MULTILINE)


def nginx_blocks() -> list[str]:
    """Return the block that installs a site of nginx, and the block that loads it."""
    given = blocks("production.md")
    (choice,) = (number for number, block in enumerate(given) if block.startswith("site="))
    return given[choice : choice + 2]


def with_tls(server: Server) -> list[str]:
    """Return the sites of nginx that clients reach by TLS."""
    return [file.name for file in server.sites.iterdir() if "\n    listen 443 ssl;" in file.read_text()]


async def test_the_blocks_of_the_way_to_production_run_in_order_and_nginx_takes_them(
    server: Server, images: Images
) -> None:
    """A Chinese page has the same blocks (``tests/test_documents.py``)."""
    await images.execute("DROP TRIGGER image_gateway_changed ON images")
    try:
        printed = await server.paste(blocks("production.md"))
    finally:
        await asyncio.to_thread(images.table.create)
    assert "fail" not in printed
    assert "ok    changes: the trigger is installed" in printed
    assert (server.root / "opt/image-gateway").readlink() == server.root / "opt/image-gateway-0.2.0"
    assert "test is successful" in printed
    assert with_tls(server) == ["gateway-cache.conf"]


async def test_the_choice_of_a_site_may_be_pasted_again_with_each_and_leaves_tls_on(server: Server) -> None:
    given = blocks("production.md")
    install, load = nginx_blocks()
    await server.paste(given[: given.index(load) + 1])
    (server.sites / "cos.conf").write_text("upstream cos { server 127.0.0.1:1; }\n")  # of a host without a look-up
    for site in ("gateway.conf", "gateway.conf", "accel.conf", "private-cache.conf", "gateway-cache.conf"):
        block = install.replace("site=gateway-cache.conf", f"site={site}")
        printed = await server.paste(["cd image-gateway-0.2.0\n", block, load])
        assert re.search(r"test is successful\nsystemctl reload nginx\nsystemctl restart image-gateway\n", printed)
        assert with_tls(server) == [site]


def edit(file: Path, before: str, after: str) -> str:
    """Replace a text of an installed file as an operator does; return the whole."""
    text = file.read_text()
    assert before in text
    file.write_text(text.replace(before, after))
    return text.replace(before, after)


async def test_the_blocks_of_deployment_install_upgrade_and_roll_back_in_order(server: Server) -> None:
    shutil.copy(CONFIG / "nginx/gateway-cache.conf", server.sites)
    shutil.copytree(CONFIG / "nginx/image-gateway", server.sites.parent / "image-gateway")
    site, upstream = server.sites / "gateway-cache.conf", server.sites / "upstream.conf"
    shutil.copy(CONFIG / "nginx/upstream.conf", upstream)
    origin = '"https://www.example.com"'
    edited = edit(site, '$image_origin { default "";', f'$image_origin {{ default ""; {origin} {origin};')
    added = "    server 10.0.0.7:8080 max_fails=0;\n"
    named = edit(upstream, "    keepalive 64;\n", f"{added}    keepalive 64;\n")
    (server.root / "values/access__jwt__secret").unlink()
    installation = [block for block in blocks("production.md") if block.startswith(("git checkout", "version="))]
    *before, back, back_in_nginx = blocks("deployment.md")
    assert (await server.paste([*installation, *before])).endswith("systemctl restart image-gateway\n")
    assert (server.root / "opt/image-gateway").readlink() == server.root / "opt/image-gateway-0.3.0"

    install, _ = nginx_blocks()
    printed = await server.paste(["cd image-gateway-0.3.0", install])
    assert upstream.read_text() == named
    assert site.read_text() != edited
    assert f'< map $http_origin $image_origin {{ default ""; {origin} {origin}; }}\n' in printed
    [saved] = (server.root / "opt/image-gateway-0.3.0").glob("nginx-*/conf.d/gateway-cache.conf")
    assert saved.read_text() == edited

    assert await server.paste([back]) == "systemctl restart image-gateway\n"
    assert (server.root / "opt/image-gateway").readlink() == server.root / "opt/image-gateway-0.2.0"
    assert (await server.paste([back_in_nginx])).endswith("test is successful\nsystemctl reload nginx\n")
    assert (site.read_text(), upstream.read_text()) == (edited, named)


async def test_a_site_that_nginx_refuses_leaves_the_files_that_were_there(server: Server) -> None:
    given = blocks("production.md")
    install, load = nginx_blocks()
    await server.paste(given[: given.index(load) + 1])
    before = {file: file.read_text() for file in server.sites.iterdir()}
    for file in (server.root / "etc/nginx/tls").iterdir():
        file.unlink()
    block = install.replace("site=gateway-cache.conf", "site=gateway.conf")
    with pytest.raises(AssertionError, match="cannot load certificate"):
        await server.paste(["cd image-gateway-0.2.0", block])
    assert {file: file.read_text() for file in server.sites.iterdir()} == before


async def test_the_blocks_of_moving_in_run_in_order_beside_the_applications_site(server: Server) -> None:
    (server.root / "config").symlink_to(CONFIG)
    shutil.copy(CONFIG / "nginx/upstream.conf", server.sites)
    site = "server {\n    listen 80;\n    include stored-addresses.conf;\n}\n"
    (server.root / "etc/nginx/sites-enabled/default").write_text(site)
    assert "test is successful" in await server.paste(blocks("move-in.md"))
    assert "location ^~ /YOUR/OLD/PATH/slides/ {" in (server.root / "etc/nginx/stored-addresses.conf").read_text()
