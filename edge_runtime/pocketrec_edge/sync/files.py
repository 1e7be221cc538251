"""Fetch one file of a release: by the smallest delta from an installed file, or whole."""

import hashlib
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from tuf.api.exceptions import DownloadError, RepositoryError

from pocketrec_bundle.disk.files import mapped, remove_file
from pocketrec_bundle.encoding.delta import FORMS, MAX_BYTES, apply_delta
from pocketrec_bundle.errors import BundleInvalidError
from pocketrec_bundle.manifest import FileEntry
from pocketrec_bundle.reader import verify_file
from pocketrec_edge.private_files import open_private
from pocketrec_edge.releases.store import Store
from pocketrec_edge.sync.metadata import TrustedMetadata
from pocketrec_edge.sync.policy import manifest_of
from pocketrec_edge.sync.transfer import DELTA, FULL, NotReachedError, Transfer

if TYPE_CHECKING:
    from tuf.api.metadata import TargetFile


class ReleaseFiles:
    """Fetches the files of a release.

    Attributes:
        fetched: files fetched, by delta or whole.
        by_delta: of them, files made from a delta.
    """

    def __init__(
        self, trusted: TrustedMetadata, transfer: Transfer, store: Store, channel: str
    ) -> None:
        """Look up the installed files.

        Args:
            trusted: signed metadata, already checked.
            transfer: fetches the bytes.
            store: its releases are the bases of deltas.
            channel: the channel whose deltas may be used.
        """
        self.fetched = self.by_delta = 0
        self._trusted, self._transfer, self._store = trusted, transfer, store
        self._channel = channel
        self._here = _files_here(store)

    def manifest(self, sha: str) -> bytes:
        """Fetch the manifest of a release, see `policy.manifest_of`."""
        return manifest_of(self._trusted, self._channel, sha)

    def fetch(self, entry: FileEntry, path: Path) -> None:
        """Write one file of a signed manifest to `path`.

        Raises:
            DownloadError: the server cannot be reached.
            RepositoryError: the bytes do not match the signed hash.
        """
        from tuf.api.metadata import TargetFile  # slow, see `tuf_client`

        self.fetched += 1
        if self._by_delta(entry, path):
            self.by_delta += 1
            return
        name = f"files/{entry.sha256}"
        wanted = TargetFile(entry.bytes, {"sha256": entry.sha256}, name)
        self._transfer.file(self._trusted.url(wanted), wanted, path, FULL)

    def _by_delta(self, entry: FileEntry, path: Path) -> bool:
        """Try the smallest delta; return whether it worked."""
        found = self._smallest_delta(entry)
        if found is None:
            return False
        old, delta = found
        temporary = path.with_name(f".{delta.hashes['sha256']}.delta")
        try:
            source = self._store.files / old.sha256
            verify_file(old, source)
            self._transfer.file(self._trusted.url(delta), delta, temporary, DELTA)
            form, delta_data = delta.custom["form"], temporary.read_bytes()
            made = apply_delta(form, delta_data, mapped(source), entry.bytes)
            if hashlib.sha256(made).hexdigest() != entry.sha256:
                raise BundleInvalidError(
                    f"{entry.name}: its delta produced another file", code="delta"
                )
            with open_private(path, "wb") as stream:
                stream.write(made)
        except NotReachedError:
            raise  # the whole file would fail too, and is larger
        except (BundleInvalidError, DownloadError, RepositoryError, MemoryError):
            return False  # whatever it is, the whole file puts it right
        finally:
            remove_file(temporary)
        return True

    def _smallest_delta(self, entry: FileEntry) -> "tuple[FileEntry, TargetFile] | None":
        found = []
        for old in self._here.get(entry.name, ()) if entry.bytes <= MAX_BYTES else ():
            target = self._trusted.find(
                f"channels/{self._channel}/deltas/{entry.sha256}.{old.sha256}"
            )
            if target is not None and _is_fit(target, entry):
                found.append((old, target))
        return min(found, key=lambda each: each[1].length, default=None)


def _is_fit(target: "TargetFile", new: FileEntry) -> bool:
    """Whether a signed delta has a known format and is smaller than the new file."""
    custom = target.custom
    return isinstance(custom, dict) and custom.get("form") in FORMS and target.length < new.bytes


def _files_here(store: Store) -> dict[str, list[FileEntry]]:
    """Files of the active and the previous release that are in the store, by logical name."""
    found: dict[str, list[FileEntry]] = {}
    for sha in store.active():
        with suppress(BundleInvalidError):
            for entry in store.read_manifest(sha).files if sha else ():
                if entry.bytes and (store.files / entry.sha256).exists():
                    found.setdefault(entry.name, []).append(entry)
    return found
