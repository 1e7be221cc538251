"""What an operator may do to a channel from afar, noted in the audit log before it is done.

Signing takes keys, and a server has only those of its folder: without a channel's key it cannot
change the policy, without the brake's it cannot halt. Then the command to run elsewhere is told.
"""

import shlex
from pathlib import Path

from sqlalchemy import Engine

from bundle.errors import InputError
from bundle.rollout import ACTIVE, KILLED, PAUSED, RolloutPolicy
from sync_server import audit
from sync_server.errors import KeysInvalid
from sync_server.keys import load_signers
from sync_server.policy_changes import rolled_back, stage_of, with_percent, with_state
from sync_server.repository import change_policy, halt, read_policy, unhalt
from sync_server.roles import BRAKE, SNAPSHOT, TIMESTAMP
from sync_server.tokens import Token

PERCENT, PAUSE, RESUME, KILL, ROLLBACK = "percent", "pause", "resume", "kill", "rollback"
HALT, UNHALT = "halt", "unhalt"
ACTIONS = (PERCENT, PAUSE, RESUME, KILL, ROLLBACK, HALT, UNHALT)
MAX_REASON = 200
_STATES = {PAUSE: PAUSED, RESUME: ACTIVE, KILL: KILLED}


class Operations:
    """Actions on the channels of one repository, with the keys of one folder."""

    def __init__(self, repo: Path, engine: Engine, keys: Path | None) -> None:
        """Look at the keys once.

        Raises:
            KeysInvalid: the folder is missing.
        """
        self._repo, self._engine = repo, engine
        self._signers = load_signers(*([keys] if keys else []))

    def may(self, action: str, channel: str) -> bool:
        """Whether the keys for an action are here."""
        role = BRAKE if action in (HALT, UNHALT) else channel
        return all(name in self._signers for name in (role, SNAPSHOT, TIMESTAMP))

    def do(
        self,
        token: Token,
        action: str,
        channel: str,
        manifest: str,
        *,
        percent: float | None = None,
        reason: str = "",
    ) -> int:
        """Do one action; returns its number in the audit log.

        Raises:
            InputError: there is no such channel or release, or something is missing.
            KeysInvalid: a key is not here.
            RepositoryInvalid: the repository is damaged or being written.
        """
        details = {"percent": percent} if action == PERCENT else {}
        details |= {"reason": reason} if reason else {}
        subject = f"{channel} {manifest}"
        with audit.noted(self._engine, token, action, subject, **details) as number:
            if not self.may(action, channel):
                raise KeysInvalid("the key for this is not on the server; run the command.")
            stage_of(read_policy(self._repo, channel), manifest)
            if action == HALT:
                halt(self._repo, self._signers, channel, manifest, reason or f"by {token.name}")
            elif action == UNHALT:
                unhalt(self._repo, self._signers, channel, manifest)
            else:
                change_policy(
                    self._repo,
                    self._signers,
                    channel,
                    lambda policy: _changed(policy, action, manifest, percent),
                )
        return number


def command(action: str, channel: str, manifest: str, percent: float | None = None) -> str:
    """The command that does the same where the keys are."""
    verb = "stage" if action == PERCENT else action
    words = ["pocketrec", "rollout", verb, manifest[:12]]
    if action == PERCENT:
        words += ["--percent", f"{percent if percent is not None else 100:g}"]
    words += ["--repo", "repo/", "--keys", "keys/", "--channel", channel]
    return shlex.join(words)


def _changed(
    policy: RolloutPolicy, action: str, manifest: str, percent: float | None
) -> RolloutPolicy:
    if action == PERCENT:
        if percent is None:
            raise InputError("percent is missing.")
        return with_percent(policy, manifest, percent)
    if action == ROLLBACK:
        return rolled_back(policy, manifest)
    return with_state(policy, manifest, _STATES[action])
