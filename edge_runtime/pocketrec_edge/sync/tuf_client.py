"""Subclasses of python-tuf's client. Import this module only inside functions.

`tuf.api.metadata` imports `securesystemslib.signer`, which imports every signer and the SDK of each
cloud that is installed. A device only verifies signatures. So importing the sync client loads
only python-tuf's exceptions, and the first check loads the rest; see
`docs/decisions/0024-python-tuf-at-the-first-sync.md`.
"""

import hashlib
import re
from collections.abc import Iterator
from typing import Any

from tuf.api.exceptions import DownloadError, DownloadHTTPError, RepositoryError
from tuf.api.metadata import Metadata, Root
from tuf.ngclient import FetcherInterface, Updater, UpdaterConfig

from pocketrec_edge.sync.transfer import Transfer

CONFIG = UpdaterConfig(app_user_agent="pocketrec", targets_max_length=2 << 20)
ROOT_NAME = re.compile(r"([1-9][0-9]{0,8})\.root\.json")
_NOT_THERE = (403, 404)
"""Status codes for a root that does not exist yet (TUF specification, 5.3.3)."""


def is_root(data: bytes) -> bool:
    """Whether bytes parse as root metadata. Signatures are not checked."""
    try:
        return isinstance(Metadata[Any].from_bytes(data).signed, Root)
    except RepositoryError:
        return False


class Client(Updater):
    """python-tuf's client, with trusted roots only in `root_history`."""

    def _update_root_symlink(self) -> None:
        """Do nothing: no code reads the link, and Windows and FAT may not support it."""


class LocalFetcher(FetcherInterface):
    """Answers like a server without newer metadata."""

    def __init__(self, timestamp: bytes) -> None:
        self._timestamp = timestamp

    def download_bytes(self, url: str, max_length: int) -> bytes:  # noqa: ARG002
        """Return the timestamp; nothing else is available."""
        name = url.rpartition("/")[2]
        if name == "timestamp.json":
            return self._timestamp
        if ROOT_NAME.fullmatch(name):
            raise DownloadHTTPError("no request for a newer root", 404)
        raise DownloadError(f"{name} is not on this device")

    def _fetch(self, url: str) -> Iterator[bytes]:
        raise NotImplementedError(url)


class ServerFetcher(FetcherInterface):
    """Fetches metadata; the timestamp only once, and only if it changed."""

    def __init__(self, transfer: Transfer, timestamp_url: str, here: bytes | None) -> None:
        self._transfer, self._url, self._here = transfer, timestamp_url, here
        self._sent: bytes | None = None
        self.has_no_newer_root = False

    def timestamp(self) -> bytes:
        """Return the server's timestamp."""
        if self._sent is None:
            etag = None if self._here is None else hashlib.sha256(self._here).hexdigest()
            found = self._transfer.unless(self._url, etag, CONFIG.timestamp_max_length)
            self._sent = self._here if found is None else found
            assert self._sent is not None, "a server that was given no ETag cannot know it"
        return self._sent

    def ask_again(self) -> None:
        """Discard the local and the received timestamp, because one was invalid."""
        self._sent = self._here = None

    def download_bytes(self, url: str, max_length: int) -> bytes:
        """Fetch metadata; python-tuf calls this for every role."""
        name = url.rpartition("/")[2]
        if name == "timestamp.json":
            return self.timestamp()
        try:
            data = self._transfer.download_bytes(url, max_length)
        except DownloadHTTPError as err:
            newest = ROOT_NAME.fullmatch(name) is not None and err.status_code in _NOT_THERE
            self.has_no_newer_root = self.has_no_newer_root or newest
            raise
        if ROOT_NAME.fullmatch(name):
            self._sent = None  # the newer root may name another key for the timestamp
        return data

    def _fetch(self, url: str) -> Iterator[bytes]:
        raise NotImplementedError(url)
