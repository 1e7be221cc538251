"""Errors of the sync server.

PocketRecError (bundle)
├── BackupInvalidError      a file is not a backup, or it is damaged or incomplete
├── ChannelChangedError     a channel was changed after the operator saw its state
├── DatabaseInvalidError    the database cannot be opened, or its tables are of another version
├── DeliveryFailedError     a notification was not delivered; says whether another try can help
├── KeysInvalidError        a key file is missing or unreadable, or the passphrase is wrong
├── RepositoryInvalidError  the repository's metadata is damaged, foreign, or being written
├── ServeFailedError        the server cannot start
└── UploadRefusedError      a device's upload is refused; has the status of the response
"""

from pocketrec_bundle.errors import PocketRecError


class BackupInvalidError(PocketRecError):
    """A file is not a backup that can be restored."""


class ChannelChangedError(PocketRecError):
    """A channel was changed after the operator saw the state that an action is based on."""


class DatabaseInvalidError(PocketRecError):
    """The database cannot be opened, or its tables are of another version."""


class DeliveryFailedError(PocketRecError):
    """A notification was not delivered.

    Attributes:
        final: another try would fail too.
    """

    def __init__(self, why: str, *, final: bool = False) -> None:
        super().__init__(why)
        self.final = final


class KeysInvalidError(PocketRecError):
    """The signing keys cannot be used."""


class RepositoryInvalidError(PocketRecError):
    """The repository cannot be read or written."""


class ServeFailedError(PocketRecError):
    """The server cannot start; the message has the reason."""


class UploadRefusedError(PocketRecError):
    """An upload is refused.

    Attributes:
        status: HTTP status of the response.
        retry_after_s: seconds after which the client can retry; None: it should not.
    """

    def __init__(self, status: int, why: str, retry_after_s: int | None = None) -> None:
        super().__init__(why)
        self.status, self.retry_after_s = status, retry_after_s
