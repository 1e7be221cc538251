"""Edit a release's targeting, ramp and failure limit, or when devices sync; no I/O.

A form has one text per setting. Here the texts become a new policy, and the command line that makes
the same policy, for a server without the channel's key. Both must agree: a test runs the command.
"""

import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from pocketrec_bundle.errors import BundleInvalidError, InputError
from pocketrec_bundle.settings.rollout import (
    AppVersions,
    FailureLimit,
    RolloutPolicy,
    Stage,
    SyncPolicy,
)
from pocketrec_server.repository.rollout import changed, find

RELEASE_FIELDS = (
    "percent",
    "ramp",
    "app_least",
    "app_below",
    "classes",
    "begins",
    "ends",
    "halt_above",
    "halt_of",
)
SYNC_FIELDS = ("unmetered", "charging", "quiet_hours", "every_s", "spread_s")
MAX_FIELD = 1000
_HALT_OF = "100"
_NUMBER = re.compile(r"\d{1,12}(\.\d{1,10})?", re.ASCII)
_HOURS = re.compile(r"(\d{1,2})\s*-\s*(\d{1,2})", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """New settings as a form has them.

    Attributes:
        channel: name of the channel.
        manifest: SHA-256 of the release's manifest; "": when the devices of the channel sync.
        fields: text of each of RELEASE_FIELDS or SYNC_FIELDS.
    """

    channel: str
    manifest: str
    fields: Mapping[str, str]

    def changed(self, policy: RolloutPolicy) -> RolloutPolicy:
        """Return the policy with the new settings.

        Raises:
            InputError: a text is malformed or out of bounds, or the release is unknown.
        """
        after = self._release(policy) if self.manifest else self._sync(policy)
        try:
            after.to_bytes()
        except BundleInvalidError as err:
            raise InputError(str(err).partition(": ")[2]) from err
        return after

    def command(self, policy: RolloutPolicy, reason: str) -> str:
        """Return the command that makes the same change, to run where the keys are."""
        after = self.changed(policy)
        if self.manifest:
            options = _stage_options(find(policy, self.manifest), find(after, self.manifest))
            words = ["pocketrec", "rollout", "stage", self.manifest[:12], *options]
        else:
            words = ["pocketrec", "rollout", "when", *_sync_options(policy.sync, after.sync)]
        words += ["--reason", reason or "TEXT", "--channel", self.channel]
        return shlex.join([*words, "--repo", "repo/", "--keys", "keys/"])

    def _release(self, policy: RolloutPolicy) -> RolloutPolicy:
        get, stage = self.fields.get, find(policy, self.manifest)
        steps = tuple(ramp_step(text) for text in get("ramp", "").replace(",", " ").split())
        limit = None
        if above := get("halt_above", "").strip():
            share = number_of("failure limit", above) / 100
            of = _whole("networks", get("halt_of", "") or _HALT_OF)
            limit = FailureLimit(of=of, share=round(share, 10))
        return changed(
            policy,
            stage,
            percent=number_of("percent", get("percent", "")),
            ramp=steps,
            app=AppVersions(
                least=get("app_least", "").strip() or None,
                below=get("app_below", "").strip() or None,
            ),
            device_classes=tuple(get("classes", "").replace(",", " ").split()),
            from_utc=_optional("from", get("begins", "")) or 0,
            until_utc=_optional("until", get("ends", "")),
            most_failures=limit,
        )

    def _sync(self, policy: RolloutPolicy) -> RolloutPolicy:
        get, hours = self.fields.get, None
        if text := get("quiet_hours", "").strip():
            found = _HOURS.fullmatch(text)
            if found is None:
                raise InputError(f"quiet hours {text!r}: expected two hours, such as 22-7.")
            hours = (int(found[1]), int(found[2]))
        sync = SyncPolicy(
            unmetered=get("unmetered", "") == "yes",
            charging=get("charging", "") == "yes",
            quiet_hours=hours,
            every_s=_whole("seconds between two syncs", get("every_s", "")),
            spread_s=_whole("random delay", get("spread_s", "")),
        )
        return replace(policy, sync=sync)


@dataclass(frozen=True, slots=True, kw_only=True)
class EditPreview:
    """The effect of new settings.

    Attributes:
        before: settings that change, with their current values; "" if nothing changes.
        after: the same settings with their new values.
        version: version of the channel's state, see `channel_status.version_of`.
        may: whether the server has the keys.
        command: command that makes the same change where the keys are.
    """

    before: str
    after: str
    version: str
    may: bool
    command: str


def texts(policy: RolloutPolicy, manifest: str) -> dict[str, str]:
    """Return the current settings as a form shows them.

    Raises:
        InputError: the channel has no such release.
    """
    if not manifest:
        sync = policy.sync
        return {
            "unmetered": "yes" if sync.unmetered else "no",
            "charging": "yes" if sync.charging else "no",
            "quiet_hours": _hours(sync),
            "every_s": str(sync.every_s),
            "spread_s": str(sync.spread_s),
        }
    stage = find(policy, manifest)
    limit = stage.most_failures
    return {
        "percent": digits(stage.percent),
        "ramp": "\n".join(f"{moment_text(utc)}={digits(share)}" for utc, share in stage.ramp),
        "app_least": stage.app.least or "",
        "app_below": stage.app.below or "",
        "classes": " ".join(stage.device_classes),
        "begins": moment_text(stage.from_utc) if stage.from_utc else "",
        "ends": moment_text(stage.until_utc) if stage.until_utc is not None else "",
        "halt_above": digits(100 * limit.share) if limit else "",
        "halt_of": str(limit.of) if limit else _HALT_OF,
    }


def read(channel: str, manifest: str, get: Callable[[str], str | None]) -> Edit:
    """Read the fields of a form; missing fields are empty.

    Raises:
        InputError: a text is too long.
    """
    names = RELEASE_FIELDS if manifest else SYNC_FIELDS
    fields = {name: get(name) or "" for name in names}
    for name, text in fields.items():
        if len(text) > MAX_FIELD:
            raise InputError(f"{name}: expected at most {MAX_FIELD} characters.")
    return Edit(channel=channel, manifest=manifest, fields=fields)


def _stage_options(before: Stage, after: Stage) -> list[str]:
    """Return the options of `rollout stage` for the settings that differ."""
    words: list[str] = []
    if (before.percent, before.ramp) != (after.percent, after.ramp):
        words += ["--percent", digits(after.percent)]  # alone, it ends a ramp
        for utc, share in after.ramp:
            words += ["--ramp", f"{moment_text(utc)}={digits(share)}"]
    if before.app.least != after.app.least:
        words += ["--app-least", after.app.least or ""]
    if before.app.below != after.app.below:
        words += ["--app-below", after.app.below or ""]
    if before.device_classes != after.device_classes:
        for name in after.device_classes or ("",):
            words += ["--device-class", name]
    if before.from_utc != after.from_utc:
        words += ["--from", moment_text(after.from_utc) if after.from_utc else ""]
    if before.until_utc != after.until_utc:
        words += ["--until", moment_text(after.until_utc) if after.until_utc is not None else ""]
    if before.most_failures != after.most_failures:
        limit = after.most_failures
        words += (
            ["--halt-above", digits(limit.share), "--halt-of", str(limit.of)]
            if limit
            else ["--no-halt"]
        )
    return words


def _sync_options(before: SyncPolicy, after: SyncPolicy) -> list[str]:
    """Return the options of `rollout when` for the settings that differ."""
    words: list[str] = []
    if before.unmetered != after.unmetered:
        words.append("--unmetered" if after.unmetered else "--any-network")
    if before.charging != after.charging:
        words.append("--charging" if after.charging else "--on-battery")
    if before.quiet_hours != after.quiet_hours:
        words += ["--quiet-hours", _hours(after)]
    if before.every_s != after.every_s:
        words += ["--every-s", str(after.every_s)]
    if before.spread_s != after.spread_s:
        words += ["--spread-s", str(after.spread_s)]
    return words


def ramp_step(text: str) -> tuple[int, float]:
    """Read a step of a ramp: a time and a percentage. Raises InputError."""
    begins, sign, share = text.partition("=")
    if not sign:
        raise InputError(
            f"ramp {text!r}: expected a time and a percentage, such as 2026-12-01T08:00Z=25."
        )
    return time_of("ramp", begins), number_of("ramp", share)


def _optional(name: str, text: str) -> int | None:
    return time_of(name, text.strip()) if text.strip() else None


def time_of(name: str, text: str) -> int:
    """Read a time, UTC without a zone, as unix seconds. Raises InputError."""
    try:
        moment = datetime.fromisoformat(text)
        return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
    except (ValueError, OverflowError) as err:
        raise InputError(f"{name} {text!r}: expected a time such as 2026-12-01T08:00Z.") from err


def number_of(name: str, text: str) -> float:
    """Read a number that is not negative. Raises InputError."""
    if not _NUMBER.fullmatch(text.strip()):
        raise InputError(f"{name} {text!r}: expected a number, such as 12.5.")
    return float(text)


def _whole(name: str, text: str) -> int:
    value = number_of(name, text)
    if value != int(value):
        raise InputError(f"{name} {text!r}: expected a whole number.")
    return int(value)


def _hours(sync: SyncPolicy) -> str:
    return "-".join(map(str, sync.quiet_hours)) if sync.quiet_hours else ""


def digits(value: float) -> str:
    """Format a number with at most 10 decimal places, as `number_of` reads it."""
    return f"{value:.10f}".rstrip("0").rstrip(".")


def moment_text(utc: int) -> str:
    """Format a time as commands read it, to the second only if it has seconds."""
    form = "%Y-%m-%dT%H:%MZ" if utc % 60 == 0 else "%Y-%m-%dT%H:%M:%SZ"
    return datetime.fromtimestamp(utc, UTC).strftime(form)
