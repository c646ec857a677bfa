"""Build the Dockerfile with buildah, on a base image made from Debian's packages.

No registry is needed: ``FROM python:…-slim`` is a minimal Debian with its Python, under that name in a separate store.
It has the parts of the official image that the Dockerfile uses: ``python``, pip with its record, and Debian's user
tools.
"""

import json
import re
import resource
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.config.files import ROOT, read

BUILD_TIMEOUT = 600.0  # seconds
# How pip and TLS reach the package index from this machine; the build reads them if they are there.
_INDEX_FILES = ("/etc/pip.conf", "/etc/ssl/certs")
_BASE = """\
FROM scratch
ADD base.tar /
# pip as the official image has it: installed by pip, in front of Debian's own
RUN ln -s python3 /usr/bin/python && rm -f /usr/lib/python3*/EXTERNALLY-MANAGED \\
    && python -m pip install --quiet --ignore-installed --root-user-action=ignore pip \\
    && dpkg --purge --force-depends python3-pip
"""


@dataclass(frozen=True)
class Store:
    """A buildah store in ``folder``."""

    folder: Path

    def command(self) -> tuple[str, ...]:
        """Return buildah with its options for this store."""
        limits = self.folder / "containers.conf"
        if not limits.exists():
            # chroot isolation cannot raise the machine's hard limits, which buildah's defaults would do
            hard = [resource.getrlimit(kind)[1] for kind in (resource.RLIMIT_NOFILE, resource.RLIMIT_NPROC)]
            nofile, nproc = (limit if limit > 0 else 1 << 20 for limit in hard)
            limits.write_text(
                f'[containers]\ndefault_ulimits = ["nofile={nofile}:{nofile}", "nproc={nproc}:{nproc}"]\n'
            )
        variables = (f"CONTAINERS_CONF={limits}", "STORAGE_DRIVER=vfs", "BUILDAH_ISOLATION=chroot")
        return ("env", *variables, "buildah", f"--root={self.folder}/root", f"--runroot={self.folder}/run")

    def buildah(self, *arguments: str) -> str:
        """Run buildah; return its output. Raises ``AssertionError`` with the output if it fails."""
        done = subprocess.run(
            [*self.command(), *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=BUILD_TIMEOUT,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def build_options(self) -> list[str]:
        """Return the options for a build on this machine, on an image of this store."""
        mounts = [f"--volume={file}:{file}:ro" for file in _INDEX_FILES if Path(file).exists()]
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        return ["--pull=never", f"--ulimit=nofile={limit}:{limit}", *mounts]

    def build(self, name: str, context: Path, *options: str) -> None:
        """Build the Dockerfile of ``context`` into the image ``name``."""
        # the OCI format has no HEALTHCHECK
        self.buildah("build", "--format=docker", f"--tag={name}", *self.build_options(), *options, str(context))

    def config(self, image: str) -> dict[str, Any]:
        """Return the configuration of ``image``: its ``Env``, ``Entrypoint``, ``Cmd``, ``User`` and so on."""
        found = json.loads(self.buildah("inspect", "--type=image", image))["Docker"]["config"]
        assert isinstance(found, dict)
        return found

    def unpack(self, image: str) -> Path:
        """Return the folder of a new container's root."""
        container = self.buildah("from", "--pull=never", image).strip()
        return Path(self.buildah("mount", container).strip())


def base_name() -> str:
    """Return the image that the Dockerfile builds upon."""
    (name,) = set(re.findall(r"^FROM (python:\S+)", read("Dockerfile"), flags=re.MULTILINE))
    return f"docker.io/library/{name}"


def build_base(store: Store) -> None:
    """Make the base image from Debian's packages."""
    context = store.folder / "base"
    context.mkdir()
    subprocess.run(
        [
            "mmdebstrap",
            "--quiet",
            "--variant=minbase",
            "--include=python3,python3-venv,python3-pip,ca-certificates",
            "trixie",
            str(context / "base.tar"),
        ],
        stdin=subprocess.DEVNULL,
        check=True,
        timeout=BUILD_TIMEOUT,
    )
    (context / "Dockerfile").write_text(_BASE)
    store.build(base_name(), context)


def build_gateway(store: Store) -> str:
    """Build the gateway's Dockerfile; return the name of its image."""
    store.build("image-gateway", ROOT, "--build-arg=VERSION=1.2.3", "--build-arg=REVISION=abc")
    return "localhost/image-gateway"
