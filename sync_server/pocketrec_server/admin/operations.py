"""Operator actions on a channel over HTTP; the audit log records each before it is executed.

An action has to be signed, and the server only has the keys in its folder. A policy change needs
the channel's key, a halt the key of the role `brake`. If the key is missing, the error message
gives the command to run where the key is.
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
from pocketrec_server.admin.edits import Edit, EditPreview
from pocketrec_server.admin.statistics import devices_now
from pocketrec_server.auth import audit
from pocketrec_server.auth.tokens import Token
from pocketrec_server.errors import ChannelChangedError, KeysInvalidError
from pocketrec_server.halting.networks import forget_networks
from pocketrec_server.halting.outcomes import healths
from pocketrec_server.repository.channel_status import version_of
from pocketrec_server.repository.history import Note, line
from pocketrec_server.repository.keys import Signers
from pocketrec_server.repository.policy_changes import difference
from pocketrec_server.repository.publish import change_policy, halt, read_halts, read_policy, unhalt
from pocketrec_server.repository.roles import BRAKE, SNAPSHOT, TIMESTAMP
from pocketrec_server.repository.rollout import changed, find, rolled_back

PERCENT, PAUSE, RESUME, KILL, ROLLBACK = "percent", "pause", "resume", "kill", "rollback"
HALT, UNHALT = "halt", "unhalt"
ACTIONS = (PERCENT, PAUSE, RESUME, KILL, ROLLBACK, HALT, UNHALT)
EDIT, WHEN = "edit", "when"
"""Changes of settings by a form, see `edits.py`: of one release, or when devices sync."""
EXPERIMENT_ACTIONS = (PAUSE, RESUME, "stop", KILL, "ship", HALT, UNHALT)
GUARDRAILS = "guardrails"
_SAME = (*ACTIONS, WHEN, GUARDRAILS, *(f"experiment-{action}" for action in EXPERIMENT_ACTIONS))
VERBS = {action: action for action in _SAME} | {PERCENT: "stage", EDIT: "stage"}
VERBS["experiment-edit"] = "experiment-start"
"""Name of each action on the command line and in the signed history."""
MAX_REASON = 200
_STATES = {PAUSE: PAUSED, RESUME: ACTIVE, KILL: KILLED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """An action that an operator requests.

    Attributes:
        action: one of ACTIONS.
        channel: name of the channel.
        manifest: SHA-256 of the release's manifest.
        percent: new share of the devices, 0..100, for PERCENT only.
        reason: the operator's reason; may be "".
    """

    action: str
    channel: str
    manifest: str
    percent: float | None = None
    reason: str = ""

    @classmethod
    def from_json(cls, channel: str, value: object) -> "Action":
        """Check the JSON of a request and build an action from it.

        Raises:
            InputError: a key is missing, unknown, of the wrong type or out of bounds.
        """
        body = value if isinstance(value, dict) else {}
        action, manifest = body.get("action"), body.get("manifest")
        percent, reason = body.get("percent"), body.get("reason", "")
        if not body.keys() <= {"action", "manifest", "percent", "reason"}:
            raise InputError("only action, manifest, percent and reason are known.")
        if action not in ACTIONS:
            raise InputError(f"action must be one of {', '.join(ACTIONS)}.")
        if not CHANNEL.fullmatch(channel):
            raise InputError("channel must be a channel's name.")
        if not isinstance(manifest, str) or not SHA256.fullmatch(manifest):
            raise InputError("manifest must be 64 hex digits.")
        if not (is_number(percent, 0, 100) if action == PERCENT else percent is None):
            raise InputError("percent must be a number 0..100, for the action percent only.")
        if not is_text(reason, MAX_REASON):
            raise InputError(f"reason must be a text of at most {MAX_REASON} characters.")
        return cls(
            action=action, channel=channel, manifest=manifest, percent=percent, reason=reason
        )

    @property
    def command(self) -> str:
        """The equivalent command, to run where the keys are."""
        words = ["pocketrec", "rollout", VERBS[self.action], self.manifest[:12]]
        words += ["--percent", f"{self.percent:g}"] if self.percent is not None else []
        words += ["--reason", self.reason or "TEXT"]
        words += ["--channel", self.channel, "--repo", "repo/", "--keys", "keys/"]
        return shlex.join(words)

    def changed(self, policy: RolloutPolicy, halts: Halts) -> RolloutPolicy:
        """Return the policy after the action.

        Raises:
            InputError: the action does not apply to the release.
        """
        stage = find(policy, self.manifest)
        if self.percent is not None:
            return changed(policy, stage, percent=self.percent, ramp=())
        if self.action == ROLLBACK:
            return rolled_back(policy, stage, halts=halts)
        return changed(policy, stage, state=_STATES[self.action])


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """The effect of an action, shown to the operator for confirmation.

    Attributes:
        stage: the release in the current policy.
        before: current state of the release, in a few words.
        after: state of the release after the action.
        version: version of the channel's state, see `channel_status.version_of`.
        on_now: estimated number of devices that have the release.
        may: whether the server has the keys for the action.
    """

    stage: Stage
    before: str
    after: str
    version: str
    on_now: int
    may: bool


class Operations:
    """Actions on the channels of one repository, with the keys of the server."""

    def __init__(self, repo: Path, engine: Engine, signers: Signers) -> None:
        self._repo, self._engine, self.signers = repo, engine, signers

    def may(self, action: str, channel: str) -> bool:
        """Return whether the server has the keys for an action."""
        role = BRAKE if action in (HALT, UNHALT) else channel
        return all(name in self.signers for name in (role, SNAPSHOT, TIMESTAMP))

    def preview(self, requested: Action) -> Preview:
        """Return the effect of an action on the current state.

        Raises:
            InputError: the channel or release is unknown, or the action does not apply to it.
            RepositoryInvalidError: the repository is missing or damaged.
        """
        policy = read_policy(self._repo, requested.channel)
        halts = read_halts(self._repo, requested.channel)
        stage = find(policy, requested.manifest)
        if requested.action in (HALT, UNHALT):
            reason = halts.reason(stage.manifest)
            before = "not halted" if reason is None else f"halted: {reason}"
            keeps = (reason is None) == (requested.action == UNHALT)
            after = before if keeps else "halted" if requested.action == HALT else "not halted"
        else:
            after = _setting(requested, requested.changed(policy, halts))
            before = _setting(requested, policy)
        return Preview(
            stage=stage,
            before=before,
            after=after,
            version=version_of(policy, halts),
            on_now=devices_now(policy, healths(self._engine, requested.channel))[stage.manifest],
            may=self.may(requested.action, requested.channel),
        )

    def do(self, token: Token, requested: Action, version: str = "") -> int:
        """Execute an action; return its number in the audit log.

        Args:
            token: token of the operator.
            requested: the action.
            version: version of the channel's state that the operator saw; "": the current state.

        Raises:
            ChannelChangedError: the channel's state has another version; nothing was done.
            InputError: the channel or release is unknown.
            KeysInvalidError: the server lacks a key.
            RepositoryInvalidError: the repository is damaged or being written.
        """
        subject = f"{requested.channel} {requested.manifest}"
        optional = {"percent": requested.percent, "reason": requested.reason}
        details: dict[str, Any] = {
            key: one for key, one in optional.items() if one not in (None, "")
        }
        with suppress(PocketRecError):  # `_do` raises it again, and the audit log records it
            preview = self.preview(requested)
            version = version or preview.version
            details |= {"from": preview.before, "to": preview.after, "release": preview.stage.name}
        with audit.noted(self._engine, token, requested.action, subject, **details) as number:
            note = Note(by=line(f"{token.name} (site)"), reason=line(requested.reason))
            self._do(requested, note, version)
        return number

    def preview_edit(self, requested: Edit) -> EditPreview:
        """Return the effect of new settings on the current state.

        Raises:
            InputError: the channel or release is unknown, or a setting is not valid.
            RepositoryInvalidError: the repository is missing or damaged.
        """
        policy = read_policy(self._repo, requested.channel)
        found = difference(policy, requested.changed(policy))
        return EditPreview(
            before=found.before,
            after=found.after,
            version=version_of(policy, read_halts(self._repo, requested.channel)),
            may=self.may(EDIT, requested.channel),
            command=requested.command(policy, ""),
        )

    def edit(self, token: Token, requested: Edit, version: str, reason: str) -> int:
        """Sign new settings; return the number in the audit log. Arguments and errors: see `do`."""
        channel, manifest = requested.channel, requested.manifest
        policy = read_policy(self._repo, channel)
        shown = self.preview_edit(requested)
        details = {"from": shown.before, "to": shown.after, "reason": reason}
        details |= {"release": find(policy, manifest).name} if manifest else {}
        action, subject = EDIT if manifest else WHEN, f"{channel} {manifest}"
        with audit.noted(self._engine, token, action, subject, **details) as number:
            if not shown.may:
                raise KeysInvalidError(
                    f"the server has no key for this; run: {requested.command(policy, reason)}"
                )

            def change(now: RolloutPolicy) -> RolloutPolicy:
                self._check(channel, version)
                return requested.changed(now)

            note = Note(by=line(f"{token.name} (site)"), reason=line(reason))
            change_policy(self._repo, self.signers, channel, change, note, VERBS[action])
        return number

    def _check(self, channel: str, version: str) -> Halts:
        """Return the halts of a channel, and refuse an action on an outdated state."""
        policy, halts = read_policy(self._repo, channel), read_halts(self._repo, channel)
        if version_of(policy, halts) != version:
            raise ChannelChangedError(
                f"{channel} was changed after this page was loaded, so nothing was done. "
                "Check its current state, and decide again."
            )
        return halts

    def _do(self, requested: Action, note: Note, version: str) -> None:
        channel, manifest = requested.channel, requested.manifest
        find(read_policy(self._repo, channel), manifest)
        if not self.may(requested.action, channel):
            raise KeysInvalidError(f"the server has no key for this; run: {requested.command}")

        def check() -> Halts:
            return self._check(channel, version)

        def change(policy: RolloutPolicy) -> RolloutPolicy:
            return requested.changed(policy, check())

        if requested.action == HALT:
            reason = note.reason or "by an operator"  # devices show it, so no name
            if halt(self._repo, self.signers, channel, manifest, reason, check, by=note.by):
                forget_networks(self._engine, channel, manifest)
        elif requested.action == UNHALT:
            if unhalt(self._repo, self.signers, channel, manifest, check, note=note):
                forget_networks(self._engine, channel, manifest)
        else:
            verb = VERBS[requested.action]
            change_policy(self._repo, self.signers, channel, change, note, verb)


def _setting(requested: Action, policy: RolloutPolicy) -> str:
    """Describe the setting that an action changes, in one version of the policy."""
    stage = find(policy, requested.manifest)
    if requested.action == PERCENT:
        return f"{stage.percent_at(time.time()):g}%" + (
            ", increasing automatically" if stage.ramp else ""
        )
    if requested.action == ROLLBACK:
        first = policy.releases[0]
        return f"{first.name} is newest, for {first.percent_at(time.time()):g}%"
    return stage.state
