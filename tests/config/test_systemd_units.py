"""``config/systemd`` fits the gateway, and the gateway runs as these units start it."""

import shutil
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
import click
import pytest
import yaml

from gateway import cli
from gateway.commands.config_option import BAD_SETTINGS
from gateway.server.file_limit import needed_files
from gateway.settings import AdminSettings, ServerSettings
from gateway.settings.sources import PREFIX, SECRETS_DIR
from tests.config.files import CONFIG, ROOT, read
from tests.conftest import Images
from tests.process.test_systemd import Receiver
from tests.processes import gateway_process
from tests.settings_keys import key_at
from tests.waiting import until

SINGLE, TEMPLATE, SOCKET = "image-gateway.service", "image-gateway@.service", "image-gateway.socket"
INSTANCES = range(1, 10)

# The restrictions of the units that an ordinary user can set before a process starts: prctl(2), PR_SET_NO_NEW_PRIVS
# and PR_SET_MDWE (Linux 6.3; an older one has no such call), the umask and the working directory.
SANDBOXED = """
import ctypes, os, sys
libc = ctypes.CDLL(None)
assert libc.prctl(38, 1, 0, 0, 0) == 0
libc.prctl(65, 1, 0, 0, 0)
os.umask(0o077)
os.chdir("/")
os.execv(sys.argv[1], sys.argv[1:])
"""


def unit(name: str) -> dict[str, list[str]]:
    """Return the values of each key of a unit file, in order; no key is in two sections."""
    values: dict[str, list[str]] = {}
    for line in read(f"config/systemd/{name}").splitlines():
        if line and line[0] not in "#[":
            key, _, value = line.partition("=")
            values.setdefault(key, []).append(value)
    return values


def variables(name: str) -> dict[str, str]:
    """Return the environment that a unit sets, with its specifiers."""
    return dict(setting.split("=", 1) for setting in unit(name)["Environment"])


def test_the_template_adds_the_shared_port_and_an_admin_port_for_each_instance() -> None:
    single, template = unit(SINGLE), unit(TEMPLATE)
    added = variables(TEMPLATE).items() - variables(SINGLE).items()
    assert variables(SINGLE).keys() <= variables(TEMPLATE).keys()
    assert dict(added) == {"GATEWAY_SERVER__REUSE_PORT": "true", "GATEWAY_ADMIN__PORT": "909%i"}
    for values in (single, template):
        del values["Environment"], values["Description"]
    assert single == template
    ports = {int(variables(TEMPLATE)["GATEWAY_ADMIN__PORT"].replace("%i", str(instance))) for instance in INSTANCES}
    assert ports == set(range(9091, 9100))
    assert AdminSettings().port not in ports  # of the single unit, which may run at the same time


@pytest.mark.parametrize("name", [SINGLE, TEMPLATE])
def test_a_unit_names_what_the_gateway_has(name: str) -> None:
    service = unit(name)
    program, command, *options = service["ExecStart"][0].split()
    assert Path(program).name == "image-gateway"
    found = cli.main.get_command(click.Context(cli.main), command)
    assert found is not None
    known = {option for parameter in found.params for option in parameter.opts}
    assert {option for option in options if option.startswith("--")} <= known
    assert service["ExecReload"] == ["kill -HUP $MAINPID"]
    for variable in variables(name):
        assert variable == SECRETS_DIR or key_at(*variable.removeprefix(PREFIX).lower().split("__")), variable
    assert service["RestartPreventExitStatus"] == [str(BAD_SETTINGS)]
    assert int(service["TimeoutStopSec"][0]) > ServerSettings().shutdown_grace + 5
    assert int(service["LimitNOFILE"][0]) >= 4 * needed_files(ServerSettings().max_streams)
    assert (service["LogRateLimitIntervalSec"], service["OOMPolicy"]) == (["0"], ["continue"])
    identifier, _, _ = service["LoadCredential"][0].partition(":")
    assert f"{identifier}_" == PREFIX  # systemd names the files of a folder so, and the gateway knows the prefix


def test_the_socket_is_the_public_port() -> None:
    assert unit(SOCKET)["ListenStream"] == [str(ServerSettings().port)]
    assert "Accept" not in unit(SOCKET)  # one process for all connections


def free_instance() -> int:
    """Return an instance whose admin port is free."""
    for instance in INSTANCES:
        with suppress(OSError), socket.create_server(("127.0.0.1", 9090 + instance)):
            return instance
    raise AssertionError("no admin port is free")


async def test_the_gateway_runs_as_the_template_starts_it(
    raw_settings: dict[str, dict[str, Any]], images: Images, tmp_path: Path
) -> None:
    """The single unit sets nothing that the template does not set."""
    await images.add("cat", b"an image")
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "GATEWAY_cos__secret_key").write_text(raw_settings["cos"].pop("secret_key"))
    config = tmp_path / "gateway.yaml"
    config.write_text(yaml.safe_dump(raw_settings))
    receiver = Receiver(str(tmp_path / "notify"))
    service, instance = unit(TEMPLATE), free_instance()
    environment = {
        key: value.replace("%d", str(credentials)).replace("%i", str(instance))
        for key, value in variables(TEMPLATE).items()
    }
    environment |= {
        "NOTIFY_SOCKET": str(tmp_path / "notify"),
        "WATCHDOG_USEC": str(int(service["WatchdogSec"][0]) * 1_000_000),
    }
    _, *arguments = service["ExecStart"][0].replace("/etc/image-gateway/gateway.yaml", str(config)).split()
    # systemd passes none of its own environment on.
    clean = ("env", "-i", *(f"{key}={value}" for key, value in environment.items()))
    program = (*clean, sys.executable, "-I", "-c", SANDBOXED, sys.executable, "-m", "gateway")
    async with gateway_process(*arguments, program=program) as running, aiohttp.ClientSession() as session:
        await until(lambda: {"READY=1", "WATCHDOG=1"} <= set(receiver.received()), what="READY=1 and WATCHDOG=1")
        assert running.admin == f"http://127.0.0.1:{9090 + instance}"
        async with session.get(running.public + "/i/cat") as answer:  # COS accepts a signature by the credential
            assert await answer.read() == b"an image"
        running.terminate()
        assert await running.exit_code() == 0
    assert [state for state in receiver.received() if state != "WATCHDOG=1"] == ["READY=1", "STOPPING=1"]
    receiver.socket.close()


def test_the_document_installs_every_unit() -> None:
    document = read("docs/deployment.md")
    for file in (CONFIG / "systemd").iterdir():
        assert f"config/systemd/{file.name}" in document


SYSTEMD_ANALYZE = shutil.which("systemd-analyze")

if SYSTEMD_ANALYZE is not None:  # the tests above hold the files without it

    def test_systemd_accepts_the_units_and_rates_their_exposure_as_low() -> None:
        done = subprocess.run(["make", "--silent", "units"], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
