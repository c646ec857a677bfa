"""``make release``: build what a release has from the last commit, twice, and fail if the results differ by a bit.

The files of a release contain tracked files as the last commit has them, and times are the time of that commit.
"""

import argparse
import filecmp
import gzip
import hashlib
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from configparser import ConfigParser
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Final
from zipfile import ZipFile

ROOT: Final = Path(__file__).parent
CYCLONEDX_NPM: Final = "@cyclonedx/cyclonedx-npm@6.0.1"


@dataclass(frozen=True)
class Tools:
    """The programs that some files need. The files of a missing program are left out.

    cyclonedx: the program ``cyclonedx-py``.
    npm: the program; the dependencies of ``gateway/web`` are installed.
    buildah: the program and its options.
    """

    cyclonedx: str
    npm: str
    buildah: Sequence[str]

    def missing(self) -> Iterator[str]:
        """Yield a sentence for each missing program."""
        if not self.cyclonedx:
            yield "cyclonedx-py is missing: the list of packages is left out"
        if not self.npm:
            yield "npm is missing: the npm package is left out"
        if not self.buildah:
            yield "buildah is missing: the image is left out"


@dataclass(frozen=True)
class Commit:
    """A commit of this clone. ``time`` is a Unix time in seconds."""

    revision: str
    time: int

    @contextmanager
    def exported(self) -> Iterator[Path]:
        """Yield a new folder with the tracked files, as long as the context lasts."""
        done = subprocess.run(("git", "archive", self.revision), cwd=ROOT, capture_output=True, check=True)
        with TemporaryDirectory() as folder, tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
            archive.extractall(folder, filter="tar")
            yield Path(folder)


def last_commit() -> Commit:
    """Return the last commit of this clone."""
    command = ("git", "log", "-1", "--format=%H %ct")
    revision, time = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    return Commit(revision, int(time))


@dataclass(frozen=True)
class Build:
    """One build of a release from ``commit`` into the folder ``target``."""

    commit: Commit
    version: str
    target: Path

    def run(self, tools: Tools) -> None:
        """Build every file whose program is there, and the list of checksums. Raises ``SystemExit``.

        Says what it begins, since a busy machine takes minutes for some of it.
        """
        if tools.buildah:
            self.begin("the image")
            self.image(tools.buildah)
        self.begin("the wheels")
        wheel = self.wheel("image_gateway", ".")
        self.wheel("image_gateway_dev", "./gateway_dev")
        self.begin("the sources and the archive for a server")
        self.sdist(wheel)
        self.server_archive(wheel)
        if tools.cyclonedx:
            self.begin("the list of packages")
            self.packages_of_a_server(tools.cyclonedx)
        if tools.npm:
            self.begin("the npm package and its list of packages, by a tool that npm downloads")
            self.npm_package(tools.npm)
        lines = [f"{_sha256(file)}  {file.name}\n" for file in sorted(self.target.iterdir())]
        (self.target / "SHA256SUMS").write_text("".join(lines), encoding="utf-8")

    def begin(self, what: str) -> None:
        """Print what is built now, in which of the two builds."""
        print(f"{self.target.name} build: {what} ...", flush=True)

    def wheel(self, name: str, folder: str) -> Path:
        """Build the wheel ``name`` of a folder of the sources with the setuptools of this environment."""
        options = ("--quiet", "--disable-pip-version-check", "--no-deps", "--no-build-isolation", "--wheel-dir")
        with self.commit.exported() as source:
            self._run(source, sys.executable, "-m", "pip", "wheel", *options, self.target, folder)
        (wheel,) = self.target.glob(f"{name}-*.whl")
        return wheel

    def sdist(self, wheel: Path) -> None:
        """Pack all tracked files, and the metadata of the wheel as ``PKG-INFO``."""
        name = f"image_gateway-{self.version}"
        with ZipFile(wheel) as archive, self.commit.exported() as source:
            metadata = archive.read(f"{name}.dist-info/METADATA")
            self._pack(f"{name}.tar.gz", {name: source, f"{name}/PKG-INFO": metadata})

    def server_archive(self, wheel: Path) -> None:
        """Pack what a server needs: ``config``, the wheel, and ``requirements.txt`` with the hash of the wheel."""
        name = f"image-gateway-{self.version}"
        with self.commit.exported() as source:
            requirements = f"./{wheel.name} --hash=sha256:{_sha256(wheel)}\n".encode()
            requirements += (source / "requirements.txt").read_bytes()
            content: dict[str, Path | bytes] = {
                f"{name}/config": source / "config",
                f"{name}/requirements.txt": requirements,
                f"{name}/{wheel.name}": wheel.read_bytes(),
            }
            self._pack(f"{name}-server.tar.gz", content)

    def packages_of_a_server(self, cyclonedx: str) -> None:
        """List the packages of ``requirements.txt``, which the image has too, and the library in the console."""
        sbom = self.target / f"image-gateway-{self.version}.cdx.json"
        with self.commit.exported() as source, TemporaryDirectory() as folder:
            project = Path(folder) / "pyproject.toml"
            project.write_text(f'[project]\nname = "image-gateway"\nversion = "{self.version}"\n', encoding="utf-8")
            options = ("--output-reproducible", "--pyproject", project, "--output-file", sbom)
            # It warns that requirements do not say which package needs which.
            self._run(source, "env", "PYTHONWARNINGS=ignore", cyclonedx, "requirements", *options, "requirements.txt")
            plot = (source / "gateway/web/console/vendor/uPlot.js").read_text(encoding="utf-8")
        (version,) = re.findall(r"^/\*! https://github\.com/leeoniya/uPlot \(v([0-9.]+)\) \*/", plot)
        listed = json.loads(sbom.read_bytes())
        listed["components"].append(
            {"type": "library", "name": "uplot", "version": version, "purl": f"pkg:npm/uplot@{version}"}
        )
        sbom.write_text(json.dumps(listed, indent=2) + "\n", encoding="utf-8")

    def npm_package(self, npm: str) -> None:
        """Pack the npm package, and list what an application installs with it."""
        with self.commit.exported() as source:
            web = source / "gateway/web"
            options = ("--package-lock-only", "--omit", "dev", "--output-reproducible", "--mc-type", "library")
            cyclonedx = ("exec", "--yes", "--ignore-scripts", f"--package={CYCLONEDX_NPM}", "--", "cyclonedx-npm")
            self._run(web, npm, *cyclonedx, *options, "--output-file", web / "web.cdx.json")
            (web / "node_modules").symlink_to(ROOT / "gateway/web/node_modules")
            self._run(web, npm, "pack", "--silent", "--pack-destination", self.target)
            (package,) = self.target.glob("*.tgz")
            shutil.copy(web / "web.cdx.json", package.with_suffix(".cdx.json"))

    def image(self, buildah: Sequence[str], *options: str) -> None:
        """Build the image without layers of an earlier build, and write an OCI archive."""
        name = f"image-gateway:{self.version}"
        labels = (f"--build-arg=VERSION={self.version}", f"--build-arg=REVISION={self.commit.revision}")
        fixed = ("--no-cache", f"--timestamp={self.commit.time}")
        with self.commit.exported() as source, TemporaryDirectory() as layout:
            self._run(source, *buildah, "build", "--quiet", *fixed, *labels, f"--tag=localhost/{name}", *options, ".")
            # Not oci-archive: the archive would have the times of buildah's temporary files.
            self._run(source, *buildah, "push", "--quiet", f"localhost/{name}", f"oci:{layout}:{name}")
            self._pack(f"image-gateway-{self.version}-oci.tar", {"": Path(layout)})

    def _run(self, folder: Path, *command: str | Path) -> None:
        """Run a program without showing what it prints. Raises ``SystemExit`` with that if the program fails."""
        done = subprocess.run(
            command,
            cwd=folder,
            env=os.environ | {"SOURCE_DATE_EPOCH": str(self.commit.time)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode:
            raise SystemExit(f"{done.stdout}\nthis command failed: {shlex.join(map(str, command))}")

    def _pack(self, name: str, content: Mapping[str, Path | bytes]) -> None:
        """Write an archive of files and folders by their names in it, in the order of names and without owners."""

        def members() -> Iterator[tuple[str, bytes, int]]:
            for path, given in content.items():
                if isinstance(given, bytes):
                    yield path, given, 0o644
                    continue
                for file in given.rglob("*"):
                    if file.is_file():
                        yield (
                            str(PurePosixPath(path, file.relative_to(given))),
                            file.read_bytes(),
                            file.stat().st_mode & 0o755,
                        )

        with (
            (self.target / name).open("wb") as raw,
            (
                gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=self.commit.time)
                if name.endswith(".gz")
                else nullcontext(raw)
            ) as written,
            tarfile.open(fileobj=written, mode="w", format=tarfile.PAX_FORMAT) as archive,
        ):
            for path, data, mode in sorted(members()):
                member = tarfile.TarInfo(path)
                member.size, member.mode, member.mtime = len(data), mode, self.commit.time
                archive.addfile(member, io.BytesIO(data))


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _version(commit: Commit) -> str:
    setup = ConfigParser()
    with commit.exported() as source:
        setup.read(source / "setup.cfg", encoding="utf-8")
    return setup["metadata"]["version"]


def differences(first: Path, second: Path) -> list[str]:
    """Return the names of the files that are not in both folders with the same bytes."""
    names = {file.name for folder in (first, second) for file in folder.iterdir()}
    _, differing, missing = filecmp.cmpfiles(first, second, names, shallow=False)
    return sorted(differing + missing)


def release(target: Path, tools: Tools) -> None:
    """Build the last commit twice, and replace ``target``. Raises ``SystemExit`` if the builds differ."""
    commit = last_commit()
    version = _version(commit)
    with TemporaryDirectory() as folder:
        builds = [Build(commit, version, Path(folder) / number) for number in ("first", "second")]
        for build in builds:
            build.target.mkdir()
            build.run(tools)
        if differing := differences(*(build.target for build in builds)):
            raise SystemExit(f"two builds of the same commit differ: {', '.join(differing)}")
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(builds[0].target, target)


def main() -> None:
    """Build into ``dist``, and print what was built and what was left out."""
    parser = argparse.ArgumentParser(description=__doc__)
    for tool in ("cyclonedx", "npm", "buildah"):
        parser.add_argument(f"--{tool}", default="", help="the program; empty: its files are left out")
    chosen = parser.parse_args()
    tools = Tools(chosen.cyclonedx, chosen.npm, shlex.split(chosen.buildah))
    os.umask(0o022)  # setuptools writes the modes of files into the wheel
    release(ROOT / "dist", tools)
    for line in (*sorted(f"dist/{file.name}" for file in (ROOT / "dist").iterdir()), *tools.missing()):
        print(line)
    if subprocess.run(("git", "diff", "--quiet", "HEAD"), cwd=ROOT, check=False).returncode:
        print("uncommitted changes are not in the release")


if __name__ == "__main__":
    main()
