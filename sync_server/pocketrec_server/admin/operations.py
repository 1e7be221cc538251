"""What an operator may do to a channel from afar, noted in the audit log before it is done.

Signing takes keys, and a server has only those of its folder: without a channel's key it cannot
change the policy, without the brake's it cannot halt. Then the command to run elsewhere is told.
"""

import shlex
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from pocketrec_bundle.encoding.strict_json import is_number, is_text
from pocketrec_bundle.errors import InputError, PocketRecError
from pocketrec_bundle.settings.halts import Halts
from pocketrec_bundle.settings.rollout import (
    ACTIVE,
    CHANNEL,
    KILLED,
    PAUSED,
    SHA256,
    RolloutPolicy,
    Stage,
)
from pocketrec_server.admin.statistics import devices_now
from pocketrec_server.auth import audit
from pocketrec_server.auth.tokens import Token
from pocketrec_server.errors import ChannelChangedError, KeysInvalidError
from pocketrec_server.halting.networks import forget_networks
from pocketrec_server.halting.outcomes import healths
from pocketrec_server.repository.channel_status import version_of
from pocketrec_server.repository.history import Note, line
from pocketrec_server.repository.keys import Signers
from pocketrec_server.repository.publish import change_policy, halt, read_halts, read_policy, unhalt
from pocketrec_server.repository.roles import BRAKE, SNAPSHOT, TIMESTAMP
from pocketrec_server.repository.rollout import changed, find, rolled_back

PERCENT, PAUSE, RESUME, KILL, ROLLBACK = "percent", "pause", "resume", "kill", "rollback"
HALT, UNHALT = "halt", "unhalt"
ACTIONS = (PERCENT, PAUSE, RESUME, KILL, ROLLBACK, HALT, UNHALT)
VERBS = {each: "stage" if each == PERCENT else each for each in ACTIONS}
"""What the command line and the signed history call each action."""
MAX_REASON = 200
_STATES = {PAUSE: PAUSED, RESUME: ACTIVE, KILL: KILLED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """What somebody wants; `percent` goes with PERCENT."""

    action: str
    channel: str
    manifest: str
    percent: float | None = None
    reason: str = ""

    @classmethod
    def from_json(cls, channel: str, value: object) -> "Action":
        """Check and build one from what came over HTTP.

        Raises:
            InputError: a key is missing, unknown, of the wrong type or out of bounds.
        """
        found = value if isinstance(value, dict) else {}
        action, manifest = found.get("action"), found.get("manifest")
        percent, reason = found.get("percent"), found.get("reason", "")
        if not found.keys() <= {"action", "manifest", "percent", "reason"}:
            raise InputError("only action, manifest, percent and reason are known.")
        if action not in ACTIONS:
            raise InputError(f"action must be one of {', '.join(ACTIONS)}.")
        if not CHANNEL.fullmatch(channel):
            raise InputError("channel must be a channel's name.")
        if not isinstance(manifest, str) or not SHA256.fullmatch(manifest):
            raise InputError("manifest must be 64 hex digits.")
        if not (is_number(percent, 0, 100) if action == PERCENT else percent is None):
            raise InputError("percent must be a number 0..100, and goes with action percent only.")
        if not is_text(reason, MAX_REASON):
            raise InputError(f"reason must be a text of at most {MAX_REASON} characters.")
        return cls(
            action=action, channel=channel, manifest=manifest, percent=percent, reason=reason
        )

    @property
    def command(self) -> str:
        """The command that does the same where the keys are."""
        words = ["pocketrec", "rollout", VERBS[self.action], self.manifest[:12]]
        words += ["--percent", f"{self.percent:g}"] if self.percent is not None else []
        words += ["--reason", self.reason or "TEXT"]
        words += ["--channel", self.channel, "--repo", "repo/", "--keys", "keys/"]
        return shlex.join(words)

    def changed(self, policy: RolloutPolicy, halts: Halts) -> RolloutPolicy:
        """Return the policy after it; raises InputError where it is not possible."""
        stage = find(policy, self.manifest)
        if self.percent is not None:
            return changed(policy, stage, percent=self.percent, ramp=())
        if self.action == ROLLBACK:
            return rolled_back(policy, stage, halts=halts)
        return changed(policy, stage, state=_STATES[self.action])


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What an action would change: for people, before they confirm it.

    Attributes:
        stage: the release, as it is.
        before: its state now, in a few words.
        after: its state then.
        version: of the channel's state, see `live.version_of`.
        on_now: about how many devices have the release.
        may: whether the keys for it are here.
    """

    stage: Stage
    before: str
    after: str
    version: str
    on_now: int
    may: bool


class Operations:
    """Actions on the channels of one repository, with the keys that are here."""

    def __init__(self, repo: Path, engine: Engine, signers: Signers) -> None:
        self._repo, self._engine, self._signers = repo, engine, signers

    def may(self, action: str, channel: str) -> bool:
        """Whether the keys for an action are here."""
        role = BRAKE if action in (HALT, UNHALT) else channel
        return all(name in self._signers for name in (role, SNAPSHOT, TIMESTAMP))

    def preview(self, wanted: Action) -> Preview:
        """Return what an action would change now.

        Raises:
            InputError: there is no such channel or release, or the action does not fit it.
            RepositoryInvalidError: the repository is damaged, or nothing was published.
        """
        policy = read_policy(self._repo, wanted.channel)
        halts = read_halts(self._repo, wanted.channel)
        stage = find(policy, wanted.manifest)
        if wanted.action in (HALT, UNHALT):
            reason = halts.reason(stage.manifest)
            before = "not halted" if reason is None else f"halted: {reason}"
            keeps = (reason is None) == (wanted.action == UNHALT)
            after = before if keeps else "halted" if wanted.action == HALT else "not halted"
        else:
            after = _said(wanted, wanted.changed(policy, halts))
            before = _said(wanted, policy)
        return Preview(
            stage=stage,
            before=before,
            after=after,
            version=version_of(policy, halts),
            on_now=devices_now(policy, healths(self._engine, wanted.channel))[stage.manifest],
            may=self.may(wanted.action, wanted.channel),
        )

    def do(self, token: Token, wanted: Action, version: str = "") -> int:
        """Do one action; returns its number in the audit log.

        Args:
            token: whose it is.
            wanted: what to do.
            version: of the channel's state that it was decided on; "": the state now.

        Raises:
            ChannelChangedError: the channel is in another state; nothing was done.
            InputError: there is no such channel or release.
            KeysInvalidError: a key is not here.
            RepositoryInvalidError: the repository is damaged or being written.
        """
        subject = f"{wanted.channel} {wanted.manifest}"
        told = {"percent": wanted.percent, "reason": wanted.reason}
        details: dict[str, Any] = {key: one for key, one in told.items() if one not in (None, "")}
        with suppress(PocketRecError):  # it is raised again below, and noted then
            seen = self.preview(wanted)
            version = version or seen.version
            details |= {"from": seen.before, "to": seen.after, "release": seen.stage.name}
        with audit.noted(self._engine, token, wanted.action, subject, **details) as number:
            note = Note(by=line(f"{token.name} (site)"), reason=line(wanted.reason))
            self._do(wanted, note, version)
        return number

    def _do(self, wanted: Action, note: Note, version: str) -> None:
        channel, manifest = wanted.channel, wanted.manifest
        find(read_policy(self._repo, channel), manifest)
        if not self.may(wanted.action, channel):
            raise KeysInvalidError(f"the key for this is not on the server; run: {wanted.command}")

        def check() -> Halts:
            policy, halts = read_policy(self._repo, channel), read_halts(self._repo, channel)
            if version_of(policy, halts) != version:
                raise ChannelChangedError(
                    f"{channel} was changed after this page was loaded, so nothing was done. "
                    "Look at its state now, and decide again."
                )
            return halts

        def change(policy: RolloutPolicy) -> RolloutPolicy:
            return wanted.changed(policy, check())

        if wanted.action == HALT:
            reason = note.reason or "by an operator"  # phones get it, so it names nobody
            if halt(self._repo, self._signers, channel, manifest, reason, check, by=note.by):
                forget_networks(self._engine, channel, manifest)
        elif wanted.action == UNHALT:
            if unhalt(self._repo, self._signers, channel, manifest, check, note=note):
                forget_networks(self._engine, channel, manifest)
        else:
            verb = VERBS[wanted.action]
            change_policy(self._repo, self._signers, channel, change, note, verb)


def _said(wanted: Action, policy: RolloutPolicy) -> str:
    """What an action is about, in one state of the policy."""
    stage = find(policy, wanted.manifest)
    if wanted.action == PERCENT:
        return f"{stage.percent_at(time.time()):g}%" + (", rising by itself" if stage.ramp else "")
    if wanted.action == ROLLBACK:
        first = policy.releases[0]
        return f"{first.name} first, for {first.percent_at(time.time()):g}%"
    return stage.state
