"""Errors of the sync server.

PocketRecError (bundle)
├── BackupInvalid      a backup is damaged, cut off, or something else
├── ChannelChanged     a channel was changed after the state that somebody decided on
├── DatabaseInvalid    the database cannot be opened, or its tables are of another version
├── KeysInvalid        a key file is missing, unreadable, or the passphrase is wrong
├── RepositoryInvalid  the repository's metadata is damaged, foreign, or being written
├── ServeFailed        the server cannot start
└── UploadRefused      a device's upload is not taken; has the status of the answer
"""

from pocketrec_bundle.errors import PocketRecError


class BackupInvalid(PocketRecError):
    """A file is not a backup that can be brought back."""


class ChannelChanged(PocketRecError):
    """A channel is in another state than the one that an action was decided on."""


class DatabaseInvalid(PocketRecError):
    """The database cannot be opened, or its tables are not those of this version."""


class KeysInvalid(PocketRecError):
    """The signing keys cannot be used."""


class RepositoryInvalid(PocketRecError):
    """The repository cannot be read or written."""


class ServeFailed(PocketRecError):
    """The server cannot start; the text says why."""


class UploadRefused(PocketRecError):
    """An upload is answered with `status`; where it may come again, after `retry_after_s`."""

    def __init__(self, status: int, why: str, retry_after_s: int | None = None) -> None:
        super().__init__(why)
        self.status, self.retry_after_s = status, retry_after_s
