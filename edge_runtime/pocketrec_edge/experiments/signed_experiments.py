"""The channel's experiments as the last sync verified them, and facts of that sync.

A sync writes the files; answers only read them.

    experiments.json     the bytes of the signed target; no file without experiments
    halted_arms.json     the bytes of the signed target; no file if no arm is halted
    device_facts.json    app version and device class, and the release that an arm brought
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from pocketrec_bundle.disk.files import canonical_json, remove_file
from pocketrec_bundle.encoding.strict_json import is_text
from pocketrec_bundle.settings.experiments import MAX_BYTES, Experiments
from pocketrec_bundle.settings.halted_arms import MAX_BYTES as MAX_HALTED_BYTES
from pocketrec_bundle.settings.halted_arms import HaltedArms
from pocketrec_bundle.settings.rollout import SHA256
from pocketrec_edge.phone_home import PhoneHome
from pocketrec_edge.private_files import write_private


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceFacts:
    """What experiments choose devices by, as of the last sync.

    Attributes:
        app_version: version of the app; None: unknown.
        device_class: the publisher's name of the device class; None: unknown.
        arm_release: manifest hash of the release that an arm brought, which the rollout policy need
            not allow; None: the policy brought the release.
    """

    app_version: str | None = None
    device_class: str | None = None
    arm_release: str | None = None


def read_experiments(home: PhoneHome) -> Experiments | None:
    """Return the experiments of the last sync; None without any.

    Raises:
        BundleInvalidError: the file is damaged; the next sync writes it again.
        OSError: it cannot be read.
    """
    try:
        with home.experiments.open("rb") as stream:
            return Experiments.from_bytes(stream.read(MAX_BYTES + 1))
    except FileNotFoundError:
        return None


def read_halted_arms(home: PhoneHome) -> HaltedArms:
    """Return the halted arms of the last sync; no arm is halted without the file.

    Raises:
        BundleInvalidError: the file is damaged; the next sync writes it again.
        OSError: it cannot be read.
    """
    try:
        with home.halted_arms.open("rb") as stream:
            return HaltedArms.from_bytes(stream.read(MAX_HALTED_BYTES + 1))
    except FileNotFoundError:
        return HaltedArms()


def keep_experiments(home: PhoneHome, data: bytes | None, halted: bytes | None = None) -> None:
    """Store the verified bytes of the experiments and of their halted arms; None: there are none.

    A process that reads between the two writes sees no arm that is halted by either pair of files:
    a new halt is written before new experiments, and an ended one is removed after them.

    Raises:
        PocketRecError: they cannot be written.
        OSError: an old file cannot be removed.
    """
    if halted is not None:
        _keep(home.halted_arms, halted)
    _keep(home.experiments, data)
    if halted is None:
        _keep(home.halted_arms, None)


def _keep(path: Path, data: bytes | None) -> None:
    try:
        kept: bytes | None = path.read_bytes()
    except OSError:
        kept = None
    if data is None:
        if kept is not None or path.exists():
            remove_file(path)
    elif data != kept:
        write_private(path, data)


def read_facts(home: PhoneHome) -> DeviceFacts:
    """Return the facts of the last sync; nothing is known if they cannot be read."""
    try:
        value = json.loads(home.device_facts.read_bytes())
        facts = DeviceFacts(**value)
    except (OSError, ValueError, TypeError, RecursionError):
        return DeviceFacts()
    texts = all(one is None or is_text(one) for one in (facts.app_version, facts.device_class))
    release = facts.arm_release
    sound = release is None or (isinstance(release, str) and SHA256.fullmatch(release))
    return facts if texts and sound else DeviceFacts()


def keep_facts(home: PhoneHome, facts: DeviceFacts) -> None:
    """Store the facts of this sync.

    Raises:
        PocketRecError: they cannot be written.
    """
    if facts != read_facts(home):
        write_private(home.device_facts, canonical_json(asdict(facts)))
