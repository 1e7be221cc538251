"""What a phone remembers of experiments: forced arms, exposures, whether its user is new.

The arm itself needs no memory, because it is a hash. `arms.json` is private and never sent. It is
changed under a lock, because the app and a sync in another process may both write it.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from pocketrec_bundle.disk.files import canonical_json
from pocketrec_bundle.disk.locks import LockedFile
from pocketrec_bundle.encoding.strict_json import matches
from pocketrec_bundle.errors import PocketRecError
from pocketrec_bundle.settings.experiment import ID, SALT, Experiment
from pocketrec_bundle.settings.experiment_arms import ARM
from pocketrec_edge.phone_home import PhoneHome
from pocketrec_edge.private_files import write_private

MAX_BYTES = 64 << 10
MAX_KEPT = 64
"""Most entries of each kind; a channel has at most 16 experiments."""
_WAIT_S = 2.0

Run = tuple[str, str]
"""An experiment's id and salt."""
Entry = tuple[str, str, str, bool]
"""An exposure: id, salt, arm, whether the arm was forced."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmMemory:
    """The memory of one phone.

    Attributes:
        forced: arm by experiment id, set by `Device.force_arm`.
        exposed: exposures that were logged, oldest first; the device keeps its arm in a pause.
        again: of them, those to log again as if for the first time, because what was logged
            without consent, or was erased, is never sent.
        sent: of them, those that the server accepted.
        lost: of them, those to log again and to mark, because the server rejected the logged event
            or retention removed it.
        new_user: whether the user was new when a run of an experiment was first looked at.
    """

    forced: dict[str, str] = field(default_factory=dict)
    exposed: tuple[Entry, ...] = ()
    again: tuple[Entry, ...] = ()
    sent: tuple[Entry, ...] = ()
    lost: tuple[Entry, ...] = ()
    new_user: dict[Run, bool] = field(default_factory=dict)

    def entered(self, experiment: Experiment) -> bool:
        """Whether an exposure to the experiment is logged, under its present salt."""
        return any(entry[:2] == (experiment.id, experiment.salt) for entry in self.exposed)

    def is_logged(self, entry: Entry) -> bool:
        """Whether an exposure is logged and need not be logged again."""
        return entry in self.exposed and entry not in (*self.again, *self.lost)

    def with_logged(self, entries: Iterable[Entry]) -> "ArmMemory":
        """Return the memory with exposures that are logged now."""
        new = tuple(entries)
        return replace(
            self,
            exposed=(*(one for one in self.exposed if one not in new), *new),
            again=tuple(one for one in self.again if one not in new),
            lost=tuple(one for one in self.lost if one not in new),
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "forced": self.forced,
            "exposed": [list(entry) for entry in self.exposed],
            "again": [list(entry) for entry in self.again],
            "sent": [list(entry) for entry in self.sent],
            "lost": [list(entry) for entry in self.lost],
            "new_user": [[*run, is_new] for run, is_new in self.new_user.items()],
        }


def read_memory(home: PhoneHome) -> ArmMemory:
    """Return a phone's memory; an empty one before the first experiment.

    Raises:
        ValueError: the file is damaged; the next change replaces it.
        OSError: it cannot be read.
    """
    try:
        with home.arms.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return ArmMemory()
    try:
        if len(data) > MAX_BYTES:
            raise ValueError("too large")
        return _parsed(json.loads(data))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as err:
        raise ValueError(f"{home.arms}: damaged ({err}); forced arms are forgotten") from err


def change_memory(home: PhoneHome, change: Callable[[ArmMemory], ArmMemory]) -> ArmMemory:
    """Change a phone's memory and return it; a damaged one starts empty.

    Raises:
        PocketRecError: it cannot be written.
    """
    try:
        home.make()
        with LockedFile(home.arms_lock, wait_s=_WAIT_S):
            try:
                before = read_memory(home)
            except (ValueError, OSError):
                before = ArmMemory()
            after = _bounded(change(before))
            if after != before or not home.arms.exists():
                write_private(home.arms, canonical_json(after.to_json()))
            return after
    except OSError as err:
        raise PocketRecError(f"{home.arms}: cannot be changed ({err.strerror or err}).") from err


def log_again(home: PhoneHome) -> None:
    """Let all exposures be logged again, because those that were logged are never sent.

    Raises:
        PocketRecError: the memory cannot be written.
    """
    if home.arms.exists():
        change_memory(home, lambda memory: replace(memory, again=memory.exposed, sent=(), lost=()))


def _bounded(memory: ArmMemory) -> ArmMemory:
    """Keep the newest entries."""
    exposed = memory.exposed[-MAX_KEPT:]
    return replace(
        memory,
        forced=dict(list(memory.forced.items())[-MAX_KEPT:]),
        exposed=exposed,
        again=tuple(one for one in memory.again if one in exposed),
        sent=tuple(one for one in memory.sent if one in exposed),
        lost=tuple(one for one in memory.lost if one in exposed),
        new_user=dict(list(memory.new_user.items())[-MAX_KEPT:]),
    )


def _parsed(value: Any) -> ArmMemory:
    forced = {_text(ID, key): _text(ARM, arm) for key, arm in value["forced"].items()}
    exposed, again, sent, lost = (
        tuple(
            (_text(ID, name), _text(SALT, salt), _text(ARM, arm), bool(is_forced))
            for name, salt, arm, is_forced in entries
        )
        for entries in (
            value["exposed"],
            *(value.get(key, []) for key in ("again", "sent", "lost")),
        )
    )
    new_user = {
        (_text(ID, name), _text(SALT, salt)): bool(is_new)
        for name, salt, is_new in value["new_user"]
    }
    return ArmMemory(
        forced=forced, exposed=exposed, again=again, sent=sent, lost=lost, new_user=new_user
    )


def _text(form: Any, value: object) -> str:
    if not matches(form, value):
        raise ValueError(f"unexpected {value!r}"[:100])
    return str(value)
