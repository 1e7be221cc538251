"""Releases on the device: content-addressed files, and one small file that names the active one.

    files/<sha256>             kept once for all releases
    releases/<sha256>.json     manifests
    active.json                {"active": sha, "previous": sha or null}, replaced by one rename
    popular.json               what is shown if no release opens, see `popular_list.py`

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
from pocketrec_edge.engines.select import needed_files, spare_files
from pocketrec_edge.errors import EngineError, SelfTestFailedError, StoreError
from pocketrec_edge.faults import Fault, FaultCode
from pocketrec_edge.private_files import make_folder, write_private
from pocketrec_edge.recommend import popular_list

Fetch = Callable[[FileEntry, Path], None]
SelfTest = Callable[[Bundle], object]
PARTIAL_LIFE_S = 7 * 86_400
"""So long a transfer may go on that no install has finished."""
POINTER = "active.json"
FOR_PEOPLE = ("catalogue.sqlite", "model_card.json", "model_card.md")
"""Files without which a release answers as well, but with ids for titles."""
PROOFS = re.compile(r"golden(/.+|_[a-z]+\.json|\.json)")
"""Files that only the self-test reads. All releases of an exporter share `golden_rules.json`."""
_SHA256 = re.compile(r"[0-9a-f]{64}")


class Store:
    """The store of one device home. Readers never wait; writers take a lock."""

    def __init__(
        self,
        root: Path,
        *,
        limit_bytes: int | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Name a store's folder.

        Args:
            root: is made by the first install.
            limit_bytes: of all files together; for an install that needs more the previous release
                goes, and if that is not enough it is refused.
            clock: unix seconds, as files have them.
        """
        self.root, self._limit_bytes, self._clock = root, limit_bytes, clock
        self.files, self.releases = root / "files", root / "releases"

    def active(self) -> tuple[str | None, str | None]:
        """Return the active and the previous release's manifest hash; None where there is none."""
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

        A damaged file of `FOR_PEOPLE` or `PROOFS` does not refuse a release: without a catalogue
        ids stand for titles, and the previous release often shares the file. If each release has a
        damaged model, the first one opens whose other files are sound: its lists answer.

        Args:
            hash_large: see `pocketrec_bundle.reader.open_files`.
            barred: manifest hashes of releases that must not be opened.

        Returns:
            The release, or None if no release opens; and what is wrong, or None.
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
            sha: of the manifest.
            hash_large: see `pocketrec_bundle.reader.open_files`.
            spare: whether the release may lack a file, see there.

        Raises:
            BundleInvalidError: it is not there or fails its checks.
        """
        manifest = self.read_manifest(sha)
        return open_files(
            manifest, self.files, all_models=False, hash_large=hash_large, spare=spare
        )

    def hash_rest(self, bundle: Bundle) -> Fault | None:
        """Hash what `open_active` left of a release; a sync replaces what is damaged.

        Args:
            bundle: a release of this store.

        Returns:
            What is wrong, or None.
        """
        for entry in bundle.unhashed:
            try:
                verify_file(entry, self.files / entry.sha256)
            except BundleInvalidError as err:
                return _damaged(f"release {bundle.manifest.name}: {err}")
        return None

    def lacks(self, sha: str) -> list[str]:
        """Names of files that this device wants of an installed release and does not have.

        They are missing after an app has changed its runtime.

        Raises:
            BundleInvalidError: the release is not installed.
        """
        needed = needed_files(self.read_manifest(sha))
        return [entry.name for entry in needed if not (self.files / entry.sha256).exists()]

    def read_manifest(self, sha: str) -> Manifest:
        """Read an installed manifest and check it against its hash.

        Raises:
            BundleInvalidError: it is not there or was changed.
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
        """Bring in a release and make it active; returns the hash of its manifest.

        Of its models come those that this device runs, see `needed_files`, and others only if the
        self-test fails with these.

        Args:
            manifest_data: the manifest, already proved to come from the publisher.
            fetch: writes one file's content to the path it is given; only called for files that
                are not in the store, and its result is verified before use.
            self_test: raises if the release does not work on this device.

        Raises:
            BundleInvalidError: the manifest or a file fails its checks.
            StoreError: another install is running.
            PocketRecError: the disk is full, or what `fetch` and `self_test` raise. Whatever
                happens, the release that was active stays active.
        """
        sha = hashlib.sha256(manifest_data).hexdigest()
        manifest = parse_manifest(manifest_data)
        with self._lock():
            make_folder(self.files)
            coming = {sha, *(entry.sha256 for entry in manifest.files)}
            self._sweep_partials(coming)
            self._fetch_all(needed_files(manifest), coming, fetch)
            write_private(self.releases / f"{sha}.json", manifest_data)
            self._remove_damaged(spare_files(manifest))
            try:
                self_test(bundle := self.open_release(sha))
            except (EngineError, SelfTestFailedError):
                if not (spare := spare_files(manifest)):
                    raise
                self._fetch_all(spare, coming, fetch)
                self_test(bundle := self.open_release(sha))
            active, previous = self.active()
            # Written even if it says the same: phones that run open the repaired files.
            self._point(sha, previous if sha == active else active or previous)
            self._garbage_collect()
            with suppress(PocketRecError):  # the release answers without its list
                popular_list.keep(self.root, sha, bundle)
        return sha

    def roll_back(self, manifests: Collection[str]) -> None:
        """Make the previous release the active one if the active one is among these.

        A previous release that is among them is forgotten; an active one without another to take
        its place stays.

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
            BundleInvalidError: no bundle there, or it fails its checks.
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
        """Count what is here, too: what is active stays until the new release takes its place.

        Where it is too much, first what no release needs goes, then the previous release.
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
                f"{self.root}: with this release it would take {total:,} bytes, and may take "
                f"{self._limit_bytes:,}. The release on this phone stays; publish a smaller one, "
                "or allow more."
            )

    def _bytes_with(self, wanted: dict[str, int]) -> int:
        """Bytes of all files once these are here; what is here of them in part is in their size."""
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
        """Remove damaged files that may be absent; else each sync would find them damaged again."""
        for entry in entries:
            path = self.files / entry.sha256
            try:
                verify_file(entry, path)
            except BundleInvalidError:
                remove_file(path)

    def _sweep_partials(self, coming: set[str]) -> None:
        """Remove what is left of transfers that were given up; errors can wait.

        A delta's name does not tell the release that it is for: it may go on for some days.
        """
        with suppress(OSError):
            for path in self.files.glob(".*"):
                old = self._clock() - path.stat().st_mtime > PARTIAL_LIFE_S
                if old and _sha_of(path.name) not in coming:
                    remove_file(path)

    def _garbage_collect(self, coming: Collection[str] = ()) -> None:
        """Remove what neither the active nor the previous release needs; errors can wait.

        Windows keeps the files that a process has mapped; a later install removes them.

        coming: hashes of files and manifest of a release that is being installed.
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
        """One writer at a time, over processes; the kernel frees it if the holder is killed."""
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
    return entry.name in FOR_PEOPLE or PROOFS.fullmatch(entry.name) is not None


def _leaves_lists(entry: FileEntry) -> bool:
    return entry.kind == "model" or _answers_without(entry)


def _sha_of(name: str) -> str:
    """The hash in a file's name: of itself, or of what a transfer, `.<sha256>.part`, will be."""
    return name.split(".")[1] if name.startswith(".") else name
