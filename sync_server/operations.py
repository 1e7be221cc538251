"""What an operator may do to a channel from afar, noted in the audit log before it is done.

Signing takes keys, and a server has only those of its folder: without a channel's key it cannot
change the policy, without the brake's it cannot halt. Then the command to run elsewhere is told.
"""

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from bundle.errors import InputError
from bundle.rollout import ACTIVE, CHANNEL, KILLED, PAUSED, SHA256, RolloutPolicy
from bundle.strict_json import is_number, is_text
from sync_server import audit
from sync_server.errors import KeysInvalid
from sync_server.keys import Signers
from sync_server.outcome_networks import forget_networks
from sync_server.repository import change_policy, halt, read_policy, unhalt
from sync_server.roles import BRAKE, SNAPSHOT, TIMESTAMP
from sync_server.rollout import changed, find, rolled_back
from sync_server.tokens import Token

PERCENT, PAUSE, RESUME, KILL, ROLLBACK = "percent", "pause", "resume", "kill", "rollback"
HALT, UNHALT = "halt", "unhalt"
ACTIONS = (PERCENT, PAUSE, RESUME, KILL, ROLLBACK, HALT, UNHALT)
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
        verb = "stage" if self.action == PERCENT else self.action
        words = ["pocketrec", "rollout", verb, self.manifest[:12]]
        words += ["--percent", f"{self.percent:g}"] if self.percent is not None else []
        words += ["--reason", self.reason] if self.reason else []
        words += ["--channel", self.channel, "--repo", "repo/", "--keys", "keys/"]
        return shlex.join(words)

    def changed(self, policy: RolloutPolicy) -> RolloutPolicy:
        """The policy after it."""
        stage = find(policy, self.manifest)
        if self.percent is not None:
            return changed(policy, stage, percent=self.percent, ramp=())
        if self.action == ROLLBACK:
            return rolled_back(policy, stage)
        return changed(policy, stage, state=_STATES[self.action])


class Operations:
    """Actions on the channels of one repository, with the keys that are here."""

    def __init__(self, repo: Path, engine: Engine, signers: Signers) -> None:
        self._repo, self._engine, self._signers = repo, engine, signers

    def may(self, action: str, channel: str) -> bool:
        """Whether the keys for an action are here."""
        role = BRAKE if action in (HALT, UNHALT) else channel
        return all(name in self._signers for name in (role, SNAPSHOT, TIMESTAMP))

    def do(self, token: Token, wanted: Action) -> int:
        """Do one action; returns its number in the audit log.

        Raises:
            InputError: there is no such channel or release.
            KeysInvalid: a key is not here.
            RepositoryInvalid: the repository is damaged or being written.
        """
        subject = f"{wanted.channel} {wanted.manifest}"
        told = {"percent": wanted.percent, "reason": wanted.reason}
        details: dict[str, Any] = {key: one for key, one in told.items() if one not in (None, "")}
        with audit.noted(self._engine, token, wanted.action, subject, **details) as number:
            self._do(wanted, wanted.reason or f"by {token.name}")
        return number

    def _do(self, wanted: Action, reason: str) -> None:
        channel, manifest = wanted.channel, wanted.manifest
        if not self.may(wanted.action, channel):
            raise KeysInvalid(f"the key for this is not on the server; run: {wanted.command}")
        find(read_policy(self._repo, channel), manifest)
        if wanted.action == HALT:
            if halt(self._repo, self._signers, channel, manifest, reason):
                forget_networks(self._engine, channel, manifest)
        elif wanted.action == UNHALT:
            unhalt(self._repo, self._signers, channel, manifest)
        else:
            change_policy(self._repo, self._signers, channel, wanted.changed)
