"""Which rankers of model sets may run on this phone: `arm_models.json`.

A sync notes `TESTING` before it tests a ranker, and the result after. If the ranker ends the
process, `TESTING` stays, and the ranker is not used.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace

from pocketrec_bundle.disk.files import canonical_json
from pocketrec_bundle.encoding.strict_json import is_integer, is_text, matches
from pocketrec_bundle.errors import PocketRecError
from pocketrec_bundle.manifest import Manifest
from pocketrec_bundle.settings.rollout import SHA256
from pocketrec_edge.engines.select import runtime, runtime_version, set_rankers
from pocketrec_edge.errors import EngineError
from pocketrec_edge.phone_home import PhoneHome
from pocketrec_edge.private_files import write_private

TESTING, PASSED, FAILED = STATES = ("testing", "passed", "failed")
MOST_TRIES = 3
"""Tests of a ranker that may end the process before it counts as failed."""
MAX_KEPT = 16
_LONGEST = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmModel:
    """One ranker.

    Attributes:
        file: SHA-256 of the file.
        state: one of `STATES`.
        runtime: module and version of the runtime that tested it; another one tests it again.
        tries: tests that began since the last one ended.
        why: reason of `FAILED`.
    """

    file: str
    state: str
    runtime: str
    tries: int = 0
    why: str = ""


def read(home: PhoneHome) -> tuple[ArmModel, ...]:
    """Return what is known, the oldest first; nothing if the file cannot be read."""
    try:
        value = json.loads(home.arm_models.read_bytes())
        found = tuple(ArmModel(**one) for one in value)
    except (OSError, ValueError, TypeError, RecursionError):
        return ()
    return tuple(one for one in found if _is_sound(one))[-MAX_KEPT:]


def find(home: PhoneHome, file: str, engine: str) -> ArmModel:
    """Return what is known of a file with the present runtime; an untested one has no tries."""
    here = runtime_of(engine)
    for one in read(home):
        if one.file == file and one.runtime == here:
            return one
    return ArmModel(file=file, state=TESTING, runtime=here)


def keep(home: PhoneHome, *changed: ArmModel) -> None:
    """Replace or add entries.

    Raises:
        PocketRecError: they cannot be written.
    """
    files = {one.file for one in changed}
    kept = [*(one for one in read(home) if one.file not in files), *changed]
    write_private(home.arm_models, canonical_json([asdict(one) for one in kept[-MAX_KEPT:]]))


def failed(one: ArmModel, why: str) -> ArmModel:
    """Return an entry as failed."""
    return replace(one, state=FAILED, why=why[:_LONGEST])


def blame(home: PhoneHome, why: str) -> None:
    """Use no ranker of a model set any more, after starts of the app that gave no slate.

    If that cannot be written, the next start tries again.
    """
    passed = [failed(one, why) for one in read(home) if one.state == PASSED]
    if passed:
        try:
            keep(home, *passed)
        except PocketRecError:
            return


def check(home: PhoneHome, manifest: Manifest, name: str, engine: str) -> None:
    """Refuse a model set whose ranker did not pass its test here.

    Raises:
        EngineError: the release has no such set for the engine, or no ranker of it passed; the
            text says what a sync found, or that it comes with the next sync.
    """
    entries = set_rankers(manifest, name, engine)
    if not entries:
        raise EngineError(f"the release has no model set {name!r} for {engine}")
    known = [find(home, entry.sha256, engine) for entry in entries]
    if not any(one.state == PASSED for one in known):
        raise EngineError(reasons(name, known))


def reasons(name: str, known: Iterable[ArmModel]) -> str:
    """Return why no ranker of a set may run."""
    why = "; ".join(one.why for one in known if one.why)
    return f"model set {name!r}: {why or 'its ranker comes with the next sync'}"


def runtime_of(engine: str) -> str:
    """Return module and version of the runtime of an engine."""
    return f"{runtime(engine)} {runtime_version(engine)}".strip()


def _is_sound(one: ArmModel) -> bool:
    return (
        matches(SHA256, one.file)
        and one.state in STATES
        and is_text(one.runtime)
        and is_integer(one.tries, 0, MOST_TRIES)
        and is_text(one.why, _LONGEST)
    )
