"""What a phone remembers of the sums that it sends: a random id and a number for each experiment.

An id is drawn for each experiment and salt. It is not the install id, and says nothing about it. It
is forgotten `GRACE_S` after the planned end, and erased with the user's data. The file is encrypted
if the app has a cipher.
"""

import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from pocketrec_bundle.encoding.strict_json import MAX_UTC, is_integer, matches
from pocketrec_bundle.settings.experiment import ID, SALT
from pocketrec_bundle.settings.experiment_arms import ARM
from pocketrec_bundle.settings.experiment_sums import (
    CURRENCY,
    LIMITS,
    MAX_SEQ,
    PAST_LIMITS,
    SUMS_ID,
)
from pocketrec_bundle.units import DAY_S
from pocketrec_edge.events.cipher import Cipher
from pocketrec_edge.events.sealed_file import is_plain, read_sealed, write_sealed
from pocketrec_edge.phone_home import PhoneHome

GRACE_S = 30 * DAY_S
"""Time after the planned end of an experiment for which its id is kept."""
MAX_RUNS = 64
MAX_BYTES = 512 << 10
_COUNT_MAX = 1 << 53


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One experiment under one salt.

    Attributes:
        experiment: id of the experiment.
        salt: of the experiment.
        id: random, 32 hex digits.
        arm: of the exposure.
        exposed_utc: time of the first exposure, unix seconds.
        until_utc: planned end.
        past: sums of the time before the exposure, computed once; None: not yet.
        currency: of the revenue; None: not known yet.
        seq: number of the last body.
        sent: sums of the last body that the server stored; None: none yet.
        sent_day: day of that upload since 1970 (UTC).
        is_final: nothing more is sent.
    """

    experiment: str
    salt: str
    id: str
    arm: str
    exposed_utc: int
    until_utc: int
    past: Mapping[str, int] | None = None
    currency: str | None = None
    seq: int = 0
    sent: Mapping[str, int] | None = None
    sent_day: int | None = None
    is_final: bool = False

    @property
    def key(self) -> tuple[str, str]:
        """Experiment and salt."""
        return self.experiment, self.salt


@dataclass(frozen=True, slots=True, kw_only=True)
class SumsMemory:
    """The memory of one phone.

    Attributes:
        runs: oldest first.
        wait_from_utc: when the server asked to wait, unix seconds.
        wait_until_utc: no upload before this time.
    """

    runs: tuple[Run, ...] = ()
    wait_from_utc: int = 0
    wait_until_utc: int = 0

    def find(self, key: tuple[str, str]) -> Run | None:
        """Return the run of an experiment and salt."""
        return next((run for run in self.runs if run.key == key), None)

    def with_run(self, run: Run) -> "SumsMemory":
        """Return the memory with a run replaced or added."""
        others = tuple(one for one in self.runs if one.key != run.key)
        return replace(self, runs=(*others, run)[-MAX_RUNS:])

    def without_old(self, now_utc: int) -> "SumsMemory":
        """Return the memory without runs that ended long ago."""
        kept = tuple(run for run in self.runs if now_utc < run.until_utc + GRACE_S)
        return replace(self, runs=kept)

    def waits(self, now_utc: int) -> bool:
        """Whether the server accepts nothing yet. A clock that was set back also ends the wait."""
        return self.wait_from_utc <= now_utc < self.wait_until_utc


def new_id() -> str:
    """Return a random id of 128 bits."""
    return secrets.token_hex(16)


def read_sums(home: PhoneHome, cipher: Cipher | None = None) -> SumsMemory:
    """Return a phone's memory; an empty one before the first upload.

    A damaged file counts as empty: its ids are unknown, so new ones are drawn.

    Args:
        home: the phone's folder.
        cipher: the app's; None: the app has none.

    Raises:
        OSError: it cannot be read.
        EventLogError: it is encrypted, and the cipher is missing or has another key.
    """
    try:
        value = read_sealed(home.sums, cipher, MAX_BYTES)
        runs = tuple(_run(one) for one in value["runs"])
        waits = {name: _utc(value[name]) for name in ("wait_from_utc", "wait_until_utc")}
        return SumsMemory(runs=runs[-MAX_RUNS:], **waits)
    except FileNotFoundError:
        return SumsMemory()
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return SumsMemory()


def keep_sums(home: PhoneHome, memory: SumsMemory, cipher: Cipher | None = None) -> None:
    """Store the memory, encrypted if there is a cipher.

    Raises:
        EventLogError: the cipher failed; nothing was written.
        PocketRecError: it cannot be written.
    """
    value = asdict(memory)
    value["runs"] = list(value["runs"])
    write_sealed(home.sums, value, cipher)


def encrypt_sums(home: PhoneHome, cipher: Cipher | None) -> None:
    """Encrypt a plain memory with the app's cipher; without one, leave it as it is.

    Raises:
        OSError: it cannot be read.
        EventLogError: the cipher failed; the memory is as it was.
        PocketRecError: it cannot be written.
    """
    if cipher is not None and is_plain(home.sums):
        keep_sums(home, read_sums(home), cipher)


def _run(value: Any) -> Run:
    run = Run(**value)
    sound = (
        matches(ID, run.experiment)
        and matches(SALT, run.salt)
        and matches(SUMS_ID, run.id)
        and matches(ARM, run.arm)
        and is_integer(run.exposed_utc, 0, MAX_UTC)
        and is_integer(run.until_utc, 0, MAX_UTC)
        and is_integer(run.seq, 0, MAX_SEQ)
        and (run.currency is None or matches(CURRENCY, run.currency))
        and (run.sent_day is None or is_integer(run.sent_day, 0, MAX_UTC))
        and type(run.is_final) is bool
        and (run.past is None or _are_counts(run.past, PAST_LIMITS))
        and (run.sent is None or _are_counts(run.sent, LIMITS))
    )
    if not sound:
        raise ValueError("a run has another form")
    return run


def _are_counts(value: object, limits: Mapping[str, int]) -> bool:
    if not isinstance(value, dict) or value.keys() != limits.keys():
        return False
    return all(is_integer(n, -_COUNT_MAX, _COUNT_MAX) for n in value.values())


def _utc(value: object) -> int:
    if not is_integer(value, 0, MAX_UTC):
        raise ValueError("no time")
    return int(value)  # type: ignore[call-overload, no-any-return]
