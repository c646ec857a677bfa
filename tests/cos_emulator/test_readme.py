"""README of the emulator: its Python example runs, and its control addresses and faults exist."""

import json
import re
import textwrap
from pathlib import Path

import pytest
from aiohttp import ClientPayloadError, ClientSession
from qcloud_cos import CosConfig, CosS3Client
from yarl import URL

import gateway_dev.cos_emulator
from gateway_dev.cos_emulator import access, faults, server, store
from gateway_dev.cos_emulator.faults import Fault
from gateway_dev.cos_emulator.purge_services import PurgeServices
from gateway_dev.cos_emulator.server import CosEmulator
from gateway_dev.cos_emulator.store import ObjectStore

README = (Path(gateway_dev.cos_emulator.__path__[0]) / "README.md").read_text(encoding="utf-8")


async def read_cut_object(cos: CosEmulator) -> None:
    """Request the example's object; check that its transfer is cut."""
    domain = f"{cos.host}:{cos.port}"
    config = CosConfig(Region="ap-guangzhou", Scheme="http", Domain=domain, SecretId="id", SecretKey="key")
    url = CosS3Client(config).get_presigned_url(Bucket="photos-1250000000", Key="a.png", Method="GET")
    async with ClientSession() as session, session.get(URL(url, encoded=True)) as response:
        with pytest.raises(ClientPayloadError):
            await response.read()


async def test_the_python_example_runs() -> None:
    section = README.partition("## In Python tests")[2]
    example = "\n".join(line for line in section.splitlines() if line.startswith("    "))
    assert "        ...  #" in example
    example = example.replace("...  #", "await read_cut_object(cos)  #")
    names = {**vars(access), **vars(faults), **vars(store), **vars(server), "read_cut_object": read_cut_object}
    exec("async def run():\n" + textwrap.indent(textwrap.dedent(example), "    "), names)  # noqa: S102  -- our own README
    await names["run"]()


def test_the_control_addresses_are_those_of_the_application() -> None:
    apps = (CosEmulator(ObjectStore(), {}).app(), PurgeServices({}).app())
    found = [route.resource.canonical for app in apps for route in app.router.routes() if route.resource is not None]
    routes = {path for path in found if path.startswith("/.emulator/")}
    assert set(re.findall(r"/\.emulator/\w+", README)) == routes


def test_the_example_of_every_fault_is_valid() -> None:
    bodies = [json.loads(body) for body in re.findall(r"-d '(.+)'", README)]
    kinds = {Fault.model_validate(body).action.kind for body in bodies}
    defined = {
        cls.model_fields["kind"].default
        for cls in vars(faults).values()
        if hasattr(cls, "model_fields") and "kind" in cls.model_fields
    }
    assert kinds == defined
