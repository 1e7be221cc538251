"""The release store: content-addressed files, and a small file that names the active release.

    files/<sha256>             shared by all releases
    releases/<sha256>.json     manifests
    active.json                {"active": sha, "previous": sha or null}, replaced by one rename
    popular.json               shown if no release opens, see `popular_list.py`

A release becomes active only when all its files are verified and its self-test has passed.
"""

import hashlib
import json
import re
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pocketrec_bundle.disk.files import (
    canonical_json,
    fsync_dir,
    fsync_file,
    remove_file,
    replace_file,
)
from pocketrec_bundle.disk.locks import LockedFile
from pocketrec_bundle.errors import BundleInvalidError, PocketRecError
from pocketrec_bundle.manifest import MAX_MANIFEST_BYTES, FileEntry, Manifest, parse_manifest
from pocketrec_bundle.reader import Bundle, manifest_of, open_files, verify_file
from pocketrec_bundle.settings.model_sets import set_of
from pocketrec_edge.engines.select import all_set_rankers, needed_files, spare_files
from pocketrec_edge.errors import EngineError, SelfTestFailedError, StoreError
from pocketrec_edge.faults import Fault, FaultCode
from pocketrec_edge.private_files import make_folder, write_private
from pocketrec_edge.recommend import popular_list

Fetch = Callable[[FileEntry, Path], None]
SelfTest = Callable[[Bundle], object]
PARTIAL_LIFE_S = 7 * 86_400
"""Maximum age of a partial transfer."""
POINTER = "active.json"
FOR_PEOPLE = ("catalogue.sqlite", "model_card.json", "model_card.md")
"""Optional files: without them a release answers with ids instead of titles."""
PROOFS = re.compile(r"golden(/.+|_[a-z]+\.json|\.json)")
"""Files that only the self-test needs. All releases of an exporter share `golden_rules.json`."""
_SHA256 = re.compile(r"[0-9a-f]{64}")


class Store:
    """The release store of one phone. Readers never wait; writers take a lock."""

    def __init__(
        self,
        root: Path,
        *,
        limit_bytes: int | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Set the store's folder.

        Args:
            root: the folder; the first install makes it.
            limit_bytes: maximum size of all files. An install that needs more removes the previous
                release; if that is not enough, it fails.
            clock: returns unix seconds, comparable with file times.
        """
        self.root, self._limit_bytes, self._clock = root, limit_bytes, clock
        self.files, self.releases = root / "files", root / "releases"

    def active(self) -> tuple[str | None, str | None]:
        """Return the manifest hashes of the active and the previous release, or None."""
        try:
            value = json.loads((self.root / POINTER).read_bytes())
            found = [value.get("active"), value.get("previous")]
        except (OSError, ValueError, AttributeError):
            return None, None
        good = [sha if isinstance(sha, str) and _SHA256.fullmatch(sha) else None for sha in found]
        return good[0], good[1]

    def open_active(
        self, *, hash_large: bool = True, barred: Collection[str] = ()
    ) -> tuple[Bundle | None, Fault | None]:
        """Open the active release, or the previous one if that fails its checks.

        A release opens despite a damaged file of `FOR_PEOPLE` or `PROOFS`: without a catalogue, ids
        replace titles, and the previous release often shares the file. If each release has a
        damaged model, the first one with otherwise sound files opens, and its lists answer.

        Args:
            hash_large: see `pocketrec_bundle.reader.open_files`.
            barred: manifest hashes of releases that must not be opened.

        Returns:
            The release, or None if no release opens; and its fault, or None.
        """
        fault: Fault | None = None
        for spare in (_answers_without, _leaves_lists):
            for sha in self.active():
                if sha is None or sha in barred:
                    continue
                try:
                    found = self.open_release(sha, hash_large=hash_large, spare=spare)
                except BundleInvalidError as err:
                    fault = fault or _damaged(f"release {sha[:12]}: {err}")
                    continue
                damaged = "; ".join(map(str, found.damaged.values()))
                return found, fault or (
                    _damaged(f"release {sha[:12]}: {damaged}") if damaged else None
                )
        return None, fault or self._no_release()

    def _no_release(self) -> Fault:
        if (path := self.root / POINTER).exists() and self.active() == (None, None):
            text = f"{path}: damaged, so no release is known; sync to repair it"
            return Fault(FaultCode.STORE_DAMAGED, text)
        return Fault(FaultCode.NO_RELEASE, "no release is installed")

    def open_release(
        self,
        sha: str,
        *,
        hash_large: bool = True,
        spare: Callable[[FileEntry], bool] = lambda _entry: False,
    ) -> Bundle:
        """Open one installed release by the hash of its manifest.

        Args:
            sha: hash of the manifest.
            hash_large: see `pocketrec_bundle.reader.open_files`.
            spare: returns whether the release may lack a file, see `open_files`.

        Raises:
            BundleInvalidError: the release is not installed or fails its checks.
        """
        manifest = self.read_manifest(sha)
        return open_files(
            manifest,
            self.files,
            sha256=sha,
            all_models=False,
            hash_large=hash_large,
            spare=spare,
        )

    def hash_rest(self, bundle: Bundle) -> Fault | None:
        """Hash the files that `open_active` did not hash; a sync replaces damaged files.

        Args:
            bundle: a release of this store.

        Returns:
            The fault, or None.
        """
        for entry in bundle.unhashed:
            try:
                verify_file(entry, self.files / entry.sha256)
            except BundleInvalidError as err:
                return _damaged(f"release {bundle.manifest.name}: {err}")
        return None

    def lacks(self, sha: str) -> list[str]:
        """Return the missing files of an installed release that this device needs.

        Files are missing after an app changed its runtime.

        Raises:
            BundleInvalidError: the release is not installed.
        """
        needed = needed_files(self.read_manifest(sha))
        return [entry.name for entry in needed if not (self.files / entry.sha256).exists()]

    def read_manifest(self, sha: str) -> Manifest:
        """Read an installed manifest and check it against its hash.

        Raises:
            BundleInvalidError: the manifest is missing or was changed.
        """
        try:
            with (self.releases / f"{sha}.json").open("rb") as stream:
                data = stream.read(MAX_MANIFEST_BYTES + 1)
        except OSError as err:
            raise BundleInvalidError(
                f"manifest {sha[:12]} is missing ({err.strerror})", code="file_missing"
            ) from err
        if hashlib.sha256(data).hexdigest() != sha:
            raise BundleInvalidError(
                f"manifest {sha[:12]} was changed on the disk", code="file_hash"
            )
        return parse_manifest(data)

    def install(self, manifest_data: bytes, fetch: Fetch, self_test: SelfTest) -> str:
        """Install a release and make it active; return the hash of its manifest.

        It fetches the models that this device runs, see `needed_files`; it fetches the others only
        if the self-test fails.

        Args:
            manifest_data: the manifest, already verified as the publisher's.
            fetch: writes one file to the given path; called only for files that are not in the
                store. The result is verified.
            self_test: raises if the release does not work on this device.

        Raises:
            BundleInvalidError: the manifest or a file fails its checks.
            StoreError: another install is running.
            PocketRecError: the disk is full, or `fetch` or `self_test` raises it. After any error
                the active release stays active.
        """
        sha = hashlib.sha256(manifest_data).hexdigest()
        manifest = parse_manifest(manifest_data)
        with self._lock():
            make_folder(self.files)
            coming = {sha, *(entry.sha256 for entry in manifest.files)}
            self._sweep_partials(coming)
            self._fetch_all(needed_files(manifest), coming, fetch)
            write_private(self.releases / f"{sha}.json", manifest_data)
            self._remove_damaged([*spare_files(manifest), *all_set_rankers(manifest)])
            try:
                self_test(bundle := self.open_release(sha))
            except (EngineError, SelfTestFailedError):
                if not (spare := spare_files(manifest)):
                    raise
                self._fetch_all(spare, coming, fetch)
                self_test(bundle := self.open_release(sha))
            active, previous = self.active()
            # Write it even if unchanged, so that running apps open the repaired files.
            self._point(sha, previous if sha == active else active or previous)
            self._garbage_collect()
            with suppress(PocketRecError):  # the release answers without its list
                popular_list.keep(self.root, sha, bundle)
        return sha

    def add(self, entry: FileEntry, fetch: Fetch) -> None:
        """Fetch one more file of an installed release, if there is room for it.

        Raises:
            BundleInvalidError: the file fails its check.
            StoreError: an install is running, or the file exceeds the limit; nothing is removed for
                it.
            PocketRecError: the disk is full, or `fetch` raises it.
        """
        with self._lock():
            total = self._bytes_with({entry.sha256: entry.bytes})
            if self._limit_bytes is not None and total > self._limit_bytes:
                raise StoreError(
                    f"{self.root}: with {entry.name} it needs {total:,} bytes; the limit is "
                    f"{self._limit_bytes:,}."
                )
            self._fetch(entry, fetch)
            fsync_dir(self.files)

    def has(self, entry: FileEntry) -> bool:
        """Whether a file of a release is in the store."""
        return (self.files / entry.sha256).exists()

    def discard(self, entries: list[FileEntry]) -> None:
        """Remove files that the active release works without; ignore errors.

        Raises:
            BundleInvalidError: the active release is not installed.
        """
        active, _ = self.active()
        names = {entry.name for entry in entries}
        others = self.read_manifest(active).files if active else ()
        needed = {entry.sha256 for entry in others if entry.name not in names}
        with suppress(OSError):
            for entry in entries:
                if entry.sha256 not in needed:
                    remove_file(self.files / entry.sha256)

    def roll_back(self, manifests: Collection[str]) -> None:
        """Activate the previous release if the active one is in `manifests`.

        A previous release in `manifests` is removed. The active release stays if it has no
        replacement.

        Raises:
            StoreError: an install is running.
            PocketRecError: it cannot be written.
        """
        with self._lock():
            active, previous = self.active()
            sound = previous not in manifests
            if active in manifests and previous is not None and sound:
                self._point(previous, None)
            elif not sound:
                self._point(active, None)
            self._garbage_collect()

    def install_bundle(self, folder: Path, self_test: SelfTest) -> str:
        """Install from a bundle folder on this machine, see `install`.

        Raises:
            BundleInvalidError: the folder has no bundle, or the bundle fails its checks.
        """

        def copy(entry: FileEntry, target: Path) -> None:
            source = folder / "files" / entry.sha256
            verify_file(entry, source, hash_it=False)
            write_private(target, source.read_bytes())

        return self.install(manifest_of(folder), copy, self_test)

    def _point(self, active: str | None, previous: str | None) -> None:
        pointers = {"active": active, "previous": previous}
        write_private(self.root / POINTER, canonical_json(pointers))

    def _fetch_all(self, entries: list[FileEntry], coming: set[str], fetch: Fetch) -> None:
        once = {entry.sha256: entry for entry in entries}  # however many names it has
        self._make_room({sha: entry.bytes for sha, entry in once.items()}, coming)
        for entry in once.values():
            self._fetch(entry, fetch)
        fsync_dir(self.files)

    def _make_room(self, wanted: dict[str, int], coming: set[str]) -> None:
        """Keep within the limit, which includes the active release until the install ends.

        Remove first the files that no release needs, then the previous release.
        """
        if self._limit_bytes is None or self._bytes_with(wanted) <= self._limit_bytes:
            return
        self._garbage_collect(coming)
        active, previous = self.active()
        if previous is not None and self._bytes_with(wanted) > self._limit_bytes:
            self._point(active, None)
            self._garbage_collect(coming)
        if (total := self._bytes_with(wanted)) > self._limit_bytes:
            raise StoreError(
                f"{self.root}: with this release it needs {total:,} bytes; the limit is "
                f"{self._limit_bytes:,}. The release on this phone stays; publish a smaller one, "
                "or raise the limit."
            )

    def _bytes_with(self, wanted: dict[str, int]) -> int:
        """Return the bytes of all files after these are added; partial files count as whole."""
        here = {path.name: path.stat().st_size for path in self.files.iterdir()}
        others = {name: size for name, size in here.items() if _sha_of(name) not in wanted}
        return sum((wanted | others).values())

    def _fetch(self, entry: FileEntry, fetch: Fetch) -> None:
        target = self.files / entry.sha256
        with suppress(BundleInvalidError):
            verify_file(entry, target)
            return
        incoming = self.files / f".{entry.sha256}.incoming"
        try:
            fetch(entry, incoming)
            verify_file(entry, incoming)
            fsync_file(incoming)  # or a power cut leaves the name with other content
            replace_file(incoming, target)
        except OSError as err:
            raise StoreError(f"{entry.name}: cannot be stored ({err.strerror or err})") from err
        finally:
            remove_file(incoming)

    def _remove_damaged(self, entries: list[FileEntry]) -> None:
        """Remove damaged optional files, so that the next sync does not report them again."""
        for entry in entries:
            path = self.files / entry.sha256
            try:
                verify_file(entry, path)
            except BundleInvalidError:
                remove_file(path)

    def _sweep_partials(self, coming: set[str]) -> None:
        """Remove abandoned partial transfers; ignore errors.

        A delta's name does not identify its release, so it is kept for some days.
        """
        with suppress(OSError):
            for path in self.files.glob(".*"):
                old = self._clock() - path.stat().st_mtime > PARTIAL_LIFE_S
                if old and _sha_of(path.name) not in coming:
                    remove_file(path)

    def _garbage_collect(self, coming: Collection[str] = ()) -> None:
        """Remove files that neither the active nor the previous release needs; ignore errors.

        Windows keeps files that a process has mapped; a later install removes them.

        Args:
            coming: hashes of files and manifest of the release that is being installed.
        """
        kept = [sha for sha in self.active() if sha]
        needed = set(coming)
        for sha in kept:
            try:
                needed |= {entry.sha256 for entry in self.read_manifest(sha).files}
            except BundleInvalidError:
                return
        with suppress(OSError):
            for path in self.files.iterdir():
                if _sha_of(path.name) not in needed or (path.name[0] == "." and not coming):
                    remove_file(path)
            for path in self.releases.iterdir():
                if path.stem not in kept and path.stem not in coming:
                    remove_file(path)

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """Lock the store; the kernel frees the lock if its holder is killed."""
        try:
            make_folder(self.root)
            lock = LockedFile(self.root / "lock")
        except BlockingIOError as err:
            raise StoreError(f"{self.root}: another install is running.") from err
        except OSError as err:
            raise StoreError(f"{self.root}: cannot be written ({err.strerror or err})") from err
        with lock:
            yield


def _damaged(text: str) -> Fault:
    return Fault(FaultCode.RELEASE_DAMAGED, text)


def _answers_without(entry: FileEntry) -> bool:
    proof = PROOFS.fullmatch(entry.name) is not None
    return entry.name in FOR_PEOPLE or proof or bool(set_of(entry))


def _leaves_lists(entry: FileEntry) -> bool:
    return entry.kind == "model" or _answers_without(entry)


def _sha_of(name: str) -> str:
    """Return the hash in a file's name, such as `.<sha256>.part`."""
    return name.split(".")[1] if name.startswith(".") else name
