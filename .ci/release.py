"""Build the source archive and the wheel, check them, print the tag to set: `make release`.

Reads the version from pyproject.toml. Refuses a modified tree, a changelog without a date for the
version and a tag that exists. `--build-only` leaves these three out; `make wheel` and CI use it.
Nothing is pushed, tagged or uploaded.
"""

import argparse
import base64
import csv
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from collections.abc import Iterator
from email.parser import HeaderParser
from pathlib import Path, PurePosixPath
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
# A bundle that every version has to open; `inspect` needs numpy and click only.
SAMPLE = "tests/bundle/data/v1"


class ReleaseError(Exception):
    """Something must change before this commit can be released."""


def output(*words: str | Path, cwd: Path = ROOT) -> str:
    """Run a program and return its standard output; a failure shows what it wrote."""
    done = subprocess.run(words, cwd=cwd, capture_output=True, text=True)
    if done.returncode:
        raise ReleaseError(f"{' '.join(map(str, words))}:\n{done.stdout}{done.stderr}")
    return done.stdout


def project(root: Path) -> dict[str, Any]:
    """Parse pyproject.toml."""
    return tomllib.loads((root / "pyproject.toml").read_text())


def packages(root: Path) -> tuple[PurePosixPath, ...]:
    """Folders of the import packages that the wheel holds, relative to the root."""
    wheel = project(root)["tool"]["hatch"]["build"]["targets"]["wheel"]
    return tuple(PurePosixPath(each) for each in wheel["packages"])


def tracked(root: Path, *folders: PurePosixPath) -> set[str]:
    """Files under version control, below the folders if any are given."""
    names = output("git", "ls-files", "-z", "--", *map(str, folders), cwd=root)
    return set(filter(None, names.split("\0")))


def faults_of_commit(root: Path, version: str) -> Iterator[str]:
    """Yield why this commit must not be tagged as `version`."""
    if modified := output("git", "status", "--porcelain", cwd=root):
        yield f"the tree is modified; commit or remove these files:\n{modified.rstrip()}"
    heading = re.compile(r"^## (\S+) - (.+)$", re.MULTILINE)
    newest = heading.search((root / "CHANGELOG.md").read_text())
    if newest is None or newest[1] != version:
        found = newest[1] if newest else "none"
        yield f"CHANGELOG.md: the newest section is {found}, pyproject.toml has version {version}"
    elif not re.fullmatch(r"\d{4}-\d\d-\d\d", newest[2]):
        yield f"CHANGELOG.md: {version} has {newest[2]!r} for a date; write the day of the release"
    if output("git", "tag", "--list", f"v{version}", cwd=root):
        yield f"the tag v{version} exists; raise the version in pyproject.toml"


def build(root: Path, out: Path) -> tuple[Path, Path]:
    """Build the source archive, then the wheel from the archive alone; return both paths."""
    epoch = output("git", "log", "-1", "--format=%ct", cwd=root).strip()
    os.environ.setdefault("SOURCE_DATE_EPOCH", epoch)  # equal commits give equal bytes
    hatchling = (sys.executable, "-m", "hatchling", "build", "--directory", out)
    output(*hatchling, "--target", "sdist", cwd=root)
    (archive,) = out.glob("*.tar.gz")
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(archive) as opened:
            opened.extractall(folder, filter="data")
        (unpacked,) = Path(folder).iterdir()
        output(*hatchling, "--target", "wheel", cwd=unpacked)
    (wheel,) = out.glob("*.whl")
    return archive, wheel


def faults_of_archive(path: Path, root: Path) -> Iterator[str]:
    """Yield what the source archive lacks of the files under version control."""
    with tarfile.open(path) as opened:
        names = {name.partition("/")[2] for name in opened.getnames()}
    if missing := sorted(tracked(root) - names):
        yield f"{path.name} lacks {len(missing)} tracked files, e.g. {missing[0]}"


def faults_of_wheel(path: Path, root: Path, version: str) -> Iterator[str]:
    """Yield what is wrong with the wheel: names, files, metadata, hashes."""
    info = f"pocketrec-{version}.dist-info"
    with zipfile.ZipFile(path) as opened:
        content = {name: opened.read(name) for name in opened.namelist()}
    foreign = {name.partition("/")[0] for name in content}
    foreign -= {info, *(folder.name for folder in packages(root))}
    if foreign:
        yield f"top-level names that are no packages of ours: {', '.join(sorted(foreign))}"
    for folder in packages(root):
        if folder.name != "pocketrec" and not folder.name.startswith("pocketrec_"):
            yield f"package {folder.name}: its import name may collide; begin it with pocketrec_"
        below = str(folder.parent / "_").removesuffix("_")
        wanted = {name.removeprefix(below) for name in tracked(root, folder)}
        wanted.add(f"{folder.name}/py.typed")
        there = {name for name in content if name.startswith(f"{folder.name}/")}
        if different := sorted(wanted ^ there):
            yield f"package {folder.name}: missing or not under version control: {different[:3]}"
    metadata = HeaderParser().parsestr(content.get(f"{info}/METADATA", b"").decode())
    expected = {"Name": "pocketrec", "Version": version, "License-Expression": "Apache-2.0"}
    expected["Description-Content-Type"] = "text/markdown"
    for key, value in expected.items():
        if metadata[key] != value:
            yield f"METADATA: {key} is {metadata[key]}, not {value}"
    for name, digest, _ in csv.reader(content.get(f"{info}/RECORD", b"").decode().splitlines()):
        hashed = base64.urlsafe_b64encode(hashlib.sha256(content.get(name, b"")).digest())
        if digest and digest != f"sha256={hashed.decode().rstrip('=')}":
            yield f"RECORD: the hash of {name} differs"


def faults_of_install(wheel: Path, root: Path, version: str, folder: Path) -> Iterator[str]:
    """Install the wheel alone (numpy and click) in a fresh environment and run it."""
    output(sys.executable, "-m", "venv", folder / "venv")
    python = folder / "venv" / "bin" / "python"
    pip = (python, "-m", "pip", "--quiet", "--disable-pip-version-check")
    output(*pip, "install", wheel)
    empty = folder / "empty"
    empty.mkdir()
    pocketrec = python.with_name("pocketrec")
    if (found := output(pocketrec, "--version", cwd=empty).split()[-1]) != version:
        yield f"the installed command reports version {found}"
    output(pocketrec, "inspect", root / SAMPLE, cwd=empty)
    names = ", ".join(folder.name for folder in packages(root))
    output(python, "-c", f"import {names}", cwd=empty)


def main() -> int:
    """Build and check; print the tag, or each fault on stderr and return 1."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--build-only", action="store_true", help="do not check tree and changelog")
    build_only = parser.parse_args().build_only
    version = project(ROOT)["project"]["version"]
    out = ROOT / "dist"
    try:
        faults = [] if build_only else list(faults_of_commit(ROOT, version))
        if not faults:
            shutil.rmtree(out, ignore_errors=True)
            archive, wheel = build(ROOT, out)
            faults += [*faults_of_archive(archive, ROOT), *faults_of_wheel(wheel, ROOT, version)]
            with tempfile.TemporaryDirectory() as folder:
                faults += faults_of_install(wheel, ROOT, version, Path(folder))
    except ReleaseError as err:
        faults = [str(err)]
    for fault in faults:
        print(f"not ready: {fault}", file=sys.stderr)
    if faults:
        return 1
    for path in (archive, wheel):
        print(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(ROOT)}")
    if not build_only:
        print(f"checked; set the tag:\n  git tag --annotate v{version} -m 'PocketRec {version}'")
    return 0


if __name__ == "__main__":
    sys.exit(main())
