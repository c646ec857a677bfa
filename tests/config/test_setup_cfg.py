"""``setup.cfg`` and ``constraints.txt`` allow one minor release of aiohttp."""

import re
from configparser import ConfigParser

from packaging.specifiers import SpecifierSet

from tests.config.files import ROOT, read


def test_aiohttp_is_limited_to_the_minor_release_whose_private_state_the_server_overrides() -> None:
    """Another minor release may change private methods of aiohttp that the server overrides; `make newest` tries it."""
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg")
    (allowed,) = re.findall(r"^aiohttp (.+)$", setup["options"]["install_requires"], flags=re.MULTILINE)
    (pinned,) = re.findall(r"^aiohttp==(.+)$", read("constraints.txt"), flags=re.MULTILINE)
    major, minor, _ = pinned.split(".")
    assert pinned in SpecifierSet(allowed)
    assert f"{major}.{int(minor) + 1}.0" not in SpecifierSet(allowed)
