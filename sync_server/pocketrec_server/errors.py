"""Errors of the sync server.

PocketRecError (bundle)
├── BackupInvalidError      a backup is damaged, cut off, or something else
├── ChannelChangedError     a channel was changed after the state that somebody decided on
├── DatabaseInvalidError    the database cannot be opened, or its tables are of another version
├── KeysInvalidError        a key file is missing, unreadable, or the passphrase is wrong
├── RepositoryInvalidError  the repository's metadata is damaged, foreign, or being written
├── ServeFailedError        the server cannot start
└── UploadRefusedError      a device's upload is not taken; has the status of the answer
"""

from pocketrec_bundle.errors import PocketRecError


class BackupInvalidError(PocketRecError):
    """A file is not a backup that can be brought back."""


class ChannelChangedError(PocketRecError):
    """A channel is in another state than the one that an action was decided on."""


class DatabaseInvalidError(PocketRecError):
    """The database cannot be opened, or its tables are not those of this version."""


class KeysInvalidError(PocketRecError):
    """The signing keys cannot be used."""


class RepositoryInvalidError(PocketRecError):
    """The repository cannot be read or written."""


class ServeFailedError(PocketRecError):
    """The server cannot start; the text says why."""


class UploadRefusedError(PocketRecError):
    """An upload is answered with `status`; where it may come again, after `retry_after_s`."""

    def __init__(self, status: int, why: str, retry_after_s: int | None = None) -> None:
        super().__init__(why)
        self.status, self.retry_after_s = status, retry_after_s
