"""The folder of one phone: the names of everything that is stored in it.

The folder is its user's: 0700, and every file in it 0600. `PhoneHome.tighten` also does that for a
folder that an earlier version made.
"""

import os
import re
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pocketrec_bundle.disk.locks import POSIX
from pocketrec_edge.private_files import OTHERS, make_folder, tighten

_BESIDE = re.compile(r"^\.|-(wal|shm|journal)$|\.partial(\.lock)?$")
"""What names of files beside them add, such as `events.sqlite-wal` and `.policy.json.partial`."""


@dataclass(frozen=True, slots=True)
class PhoneHome:
    """The folder of one phone.

    Attributes:
        folder: need not exist yet.

    Example:
        >>> home = PhoneHome(Path("phone"))
        >>> home.event_log.name, home.exists()
        ('events.sqlite', False)
    """

    folder: Path

    @classmethod
    def of(cls, home: "Path | PhoneHome") -> "PhoneHome":
        """Return the home of a folder, or the home itself."""
        return home if isinstance(home, PhoneHome) else cls(Path(home))

    def __str__(self) -> str:
        return str(self.folder)

    @property
    def store(self) -> Path:
        """Folder of the installed releases."""
        return self.folder / "store"

    @property
    def trusted_metadata(self) -> Path:
        """Folder of the signed metadata that the phone trusts."""
        return self.folder / "tuf"

    @property
    def event_log(self) -> Path:
        """SQLite file of what the user did and was shown."""
        return self.folder / "events.sqlite"

    @property
    def interests(self) -> Path:
        """Categories that the user chose."""
        return self.folder / "interests.json"

    @property
    def sessions(self) -> Path:
        """Pages shown, so that a list does not repeat items."""
        return self.folder / "sessions.json"

    @property
    def trial(self) -> Path:
        """Boot counter of the active release, for crash-loop rollback."""
        return self.folder / "trial"

    @property
    def self_test(self) -> Path:
        """Counter of self-tests that ended the process."""
        return self.folder / "self_test"

    @property
    def refused(self) -> Path:
        """Releases that must not run here."""
        return self.folder / "refused.json"

    @property
    def outcomes(self) -> Path:
        """The outcome of each release on this phone."""
        return self.folder / "outcomes.json"

    @property
    def policy(self) -> Path:
        """The channel's rollout policy, as it was last read."""
        return self.folder / "policy.json"

    @property
    def experiments(self) -> Path:
        """The channel's experiments, as they were last read; no file if there are none."""
        return self.folder / "experiments.json"

    @property
    def halted_arms(self) -> Path:
        """The halted arms of these experiments, as last read; no file if there are none."""
        return self.folder / "halted_arms.json"

    @property
    def device_facts(self) -> Path:
        """Facts of the last sync by which experiments choose: app version, device class."""
        return self.folder / "device_facts.json"

    @property
    def arms(self) -> Path:
        """Memory of experiments: forced arms, exposures, whether the user is new."""
        return self.folder / "arms.json"

    @property
    def arms_lock(self) -> Path:
        """Locked while the memory of experiments changes."""
        return self.folder / "arms.lock"

    @property
    def arm_models(self) -> Path:
        """Whether the ranker of this phone's arm passed its test; no file without such an arm."""
        return self.folder / "arm_models.json"

    @property
    def sums(self) -> Path:
        """Random ids and numbers of uploads of sums, one for each experiment."""
        return self.folder / "sums.json"

    @property
    def sums_lock(self) -> Path:
        """Locked while sums are sent, so that an experiment has one id."""
        return self.folder / "sums.lock"

    @property
    def update_app(self) -> Path:
        """Releases that need a newer app."""
        return self.folder / "update_app.json"

    @property
    def bucket_id(self) -> Path:
        """Random bytes that decide the phone's share in a rollout."""
        return self.folder / "bucket_id"

    @property
    def install_id(self) -> Path:
        """Random id under which events are sent; made with the first upload."""
        return self.folder / "install_id"

    @property
    def sync_lock(self) -> Path:
        """Locked during a sync."""
        return self.folder / "sync.lock"

    def exists(self) -> bool:
        """Whether the folder has anything of a phone in it."""
        return any(part.exists() for part in self.parts())

    def parts(self) -> tuple[Path, ...]:
        """Return the paths of everything that a phone stores."""
        return (
            self.store,
            self.trusted_metadata,
            self.event_log,
            self.interests,
            self.sessions,
            self.trial,
            self.self_test,
            self.refused,
            self.outcomes,
            self.policy,
            self.experiments,
            self.halted_arms,
            self.device_facts,
            self.arms,
            self.arms_lock,
            self.arm_models,
            self.sums,
            self.sums_lock,
            self.update_app,
            self.bucket_id,
            self.install_id,
            self.sync_lock,
        )

    def make(self) -> None:
        """Make the folder, for its owner only.

        Raises:
            OSError: it cannot be made.
        """
        make_folder(self.folder)

    def tighten(self) -> None:
        """Make the folder its owner's only; files of others in it stay as they are.

        Only names of a phone are changed, because an app may keep other files beside them. It takes
        0.3 ms for a home of 60 files, so each start may do it.
        """
        if not POSIX:
            return
        with suppress(OSError):
            self.make()
            found = self.folder.stat()
            if found.st_mode & stat.S_ISVTX:  # a folder such as /tmp, which is everybody's
                return
            if found.st_mode & OTHERS:
                self.folder.chmod(0o700)
            names = {part.name for part in self.parts()}
            with os.scandir(self.folder) as entries:
                for entry in entries:
                    if _BESIDE.sub("", entry.name) in names:
                        tighten(entry)
