"""Both ``setup.cfg``, and ``constraints.txt`` and ``requirements.txt``, which `make constraints` makes of them."""

import re
from configparser import ConfigParser

import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from tests.config.files import ROOT, read


def test_aiohttp_is_limited_to_the_minor_release_whose_private_state_the_server_overrides() -> None:
    """Another minor release may change private methods of aiohttp that the server overrides; `make newest` tries it."""
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg")
    (allowed,) = re.findall(r"^aiohttp (.+)$", setup["options"]["install_requires"], flags=re.MULTILINE)
    (pinned,) = re.findall(r"^aiohttp==(\S+) ", read("constraints.txt"), flags=re.MULTILINE)
    major, minor, _ = pinned.split(".")
    assert pinned in SpecifierSet(allowed)
    assert f"{major}.{int(minor) + 1}.0" not in SpecifierSet(allowed)


def test_every_supported_python_is_tested() -> None:
    supported = re.findall(r"Programming Language :: Python :: (3\.\d+)$", read("setup.cfg"), flags=re.MULTILINE)
    assert yaml.safe_load(read(".github/workflows/ci.yml"))["jobs"]["test"]["strategy"]["matrix"]["python"] == supported


def pinned(file: str) -> dict[str, set[str]]:
    """Return the versions of each package in a file that pip reads. Every version has hashes."""
    found: dict[str, set[str]] = {}
    for line in re.sub(r"\\\n\s*", "", re.sub(r"^\s*#.*\n", "", read(file), flags=re.MULTILINE)).splitlines():
        requirement, *hashes = line.split("--hash=sha256:")
        assert hashes, line
        assert all(re.fullmatch(r"[0-9a-f]{64}", value.strip()) for value in hashes), line
        parsed = Requirement(requirement)
        (version,) = parsed.specifier
        assert version.operator == "=="
        found.setdefault(parsed.name, set()).add(version.version)
    return found


def test_what_is_installed_is_pinned_with_hashes_and_a_server_gets_the_tested_versions() -> None:
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg")
    unpinned = {"fuzz", "fronts"}
    extras = {name: f"\n{lines}" for name, lines in setup["options.extras_require"].items() if name not in unpinned}
    runtime = setup["options"]["install_requires"]
    development = ConfigParser()
    development.read(ROOT / "gateway_dev" / "setup.cfg")
    version = setup["metadata"]["version"]
    assert development["metadata"]["version"] == version
    gateway, *servers = re.findall(r"^[A-Za-z].*$", development["options"]["install_requires"], flags=re.MULTILINE)
    assert gateway == f"image-gateway == {version}"
    for file, lines in (
        ("constraints.txt", "\n".join((runtime, *servers, *extras.values()))),
        ("requirements.txt", runtime + extras["otel"]),
    ):
        versions = pinned(file)
        for line in re.findall(r"^[A-Za-z].*$", lines, flags=re.MULTILINE):
            required = Requirement(line)
            name = canonicalize_name(required.name)
            assert all(version in required.specifier for version in versions[name]), line
            for extra in required.extras:  # else pip refuses the pinned release as soon as there is a newer one
                assert re.search(rf"^{name}\[(?:.*,)?{extra}(?:,.*)?\]==", read(file), flags=re.MULTILINE), line
    assert {canonicalize_name(Requirement(line).name) for line in servers} & set(pinned("requirements.txt")) == set()
    tested = pinned("constraints.txt")
    assert {name: versions for name, versions in pinned("requirements.txt").items() if versions != tested[name]} == {}
