"""Write a bundle folder atomically: `manifest.json` and `files/<sha256>`."""

import hashlib
import os
import shutil
from pathlib import Path
from types import TracebackType

from pocketrec_bundle.disk.files import (
    check_free,
    fsync_dir,
    replace_dir,
    write_atomic,
    write_failed,
)
from pocketrec_bundle.encoding.strict_json import MAX_JSON_BYTES
from pocketrec_bundle.errors import InputError
from pocketrec_bundle.manifest import (
    FORMAT_VERSION,
    OLDEST_VERSION,
    USUAL_VERSION,
    FileEntry,
    Manifest,
    Meta,
    manifest_bytes,
)


class BundleWriter:
    """Collect files in a sibling folder of `out`; `finish` renames it to `out`.

    Use it as a context manager: without `finish`, the exit removes the collected files. A killed
    writer leaves only `.NAME.partial`, which the next writer for the same `out` removes.
    """

    def __init__(
        self, out: Path, *, force: bool = False, format_version: int = USUAL_VERSION
    ) -> None:
        """Start a bundle at `out`.

        Args:
            out: the bundle folder.
            force: replace an existing bundle.
            format_version: 1 for apps that do not read 2; 3 for features that 2 cannot hold.

        Raises:
            InputError: `out` exists and `force` is not set, or the version is unknown.
        """
        if not OLDEST_VERSION <= format_version <= FORMAT_VERSION:
            raise InputError(
                f"format version {format_version}: there is {OLDEST_VERSION} to {FORMAT_VERSION}."
            )
        self.format_version = format_version
        check_free(out, force=force)
        self._out = out
        self._folder = out.parent / f".{out.name}.partial"
        self._entries: dict[str, FileEntry] = {}
        try:
            shutil.rmtree(self._folder, ignore_errors=True)
            (self._folder / "files").mkdir(parents=True)
        except OSError as err:
            raise write_failed(self._folder, err) from err

    def __enter__(self) -> "BundleWriter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    def add(self, name: str, data: bytes, kind: str, **meta: str | int | float) -> FileEntry:
        """Store one file under its hash and return its entry; equal contents are stored once.

        Raises:
            InputError: a JSON file is larger than a reader accepts.
            PocketRecError: the disk is full or cannot be written.
        """
        if name in self._entries:
            raise ValueError(f"{name} was added twice")
        if kind == "json" and len(data) > MAX_JSON_BYTES:
            raise InputError(
                f"{name}: {len(data)} bytes, and a device reads at most {MAX_JSON_BYTES}. "
                "Use fewer golden cases (export.golden_cases), categories or names (vocabulary)."
            )
        sha256 = hashlib.sha256(data).hexdigest()
        path = self._folder / "files" / sha256
        if not path.exists():
            try:
                with path.open("wb") as stream:
                    stream.write(data)
                    stream.flush()
                    os.fsync(stream.fileno())
            except OSError as err:
                raise write_failed(self._out, err) from err
        facts: Meta = dict(meta)
        entry = FileEntry(name=name, sha256=sha256, bytes=len(data), kind=kind, meta=facts)
        self._entries[name] = entry
        return entry

    def path_of(self, name: str) -> Path:
        """Return the path of an added file before `finish`; the release gates run models there."""
        return self._folder / "files" / self._entries[name].sha256

    @property
    def blob_dir(self) -> Path:
        """The folder of the added files, each named by its SHA-256."""
        return self._folder / "files"

    def manifest(self, *, name: str, recipe_name: str, created_utc: int) -> Manifest:
        """Return the manifest of the files added so far, sorted by name."""
        files = tuple(self._entries[key] for key in sorted(self._entries))
        return Manifest(
            name=name,
            recipe_name=recipe_name,
            created_utc=created_utc,
            files=files,
            format_version=self.format_version,
        )

    def finish(self, *, name: str, recipe_name: str, created_utc: int) -> Manifest:
        """Write the manifest and rename the folder to `out`.

        Args:
            name: for people, such as "ml100k-2026-01-31".
            recipe_name: the recipe that made it.
            created_utc: unix seconds of the last event; a clock would make equal releases differ.

        Raises:
            PocketRecError: the disk is full or cannot be written; `out` is untouched.
        """
        manifest = self.manifest(name=name, recipe_name=recipe_name, created_utc=created_utc)
        write_atomic(self._folder / "manifest.json", manifest_bytes(manifest))
        fsync_dir(self._folder / "files")
        try:
            replace_dir(self._folder, self._out)
        except OSError as err:
            raise write_failed(self._out, err) from err
        return manifest
