"""Describe how two versions of a channel's policy differ, for the audit trail; no I/O."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pocketrec_bundle.settings.rollout import RolloutPolicy, Stage

_UNSET = "unset"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Difference of two policies.

    Attributes:
        subject: name of the release that changed; "" if only sync settings changed.
        manifest: SHA-256 of its manifest, or "".
        before: the old settings as a short text.
        after: the new settings.
    """

    subject: str
    manifest: str
    before: str
    after: str


def difference(before: RolloutPolicy, after: RolloutPolicy) -> Difference:
    """Compare two policies of a channel.

    The subject is the new newest release if there is one, else the first release whose settings
    differ.
    """
    old = {stage.manifest: stage for stage in before.releases}
    parts: list[tuple[str, str]] = []
    subject: Stage | None = None
    first_old, first = next(iter(before.releases), None), next(iter(after.releases), None)
    if first is not None and (first_old is None or first_old.manifest != first.manifest):
        subject = first
        parts.append((f"newest {first_old.name}" if first_old else "", f"newest {first.name}"))
    for stage in after.releases:
        facts, was = _facts(stage), old.get(stage.manifest)
        known = _facts(was) if was else dict.fromkeys(facts, _UNSET)
        keys = [key for key in facts if known[key] != facts[key]]
        if not keys:
            continue
        subject = subject or stage
        named = "" if stage.manifest == subject.manifest else f"{stage.name}: "
        old_texts = [f"{key} {known[key]}" for key in keys if was]
        parts.append(
            (
                named + ", ".join(old_texts) if old_texts else "",
                named + ", ".join(f"{key} {facts[key]}" for key in keys),
            )
        )
    earlier, now = _sync_facts(before), _sync_facts(after)
    if keys := [key for key in now if earlier[key] != now[key]]:
        parts.append(
            (
                ", ".join(f"{key} {earlier[key]}" for key in keys),
                ", ".join(f"{key} {now[key]}" for key in keys),
            )
        )
    return Difference(
        subject=subject.name if subject else "",
        manifest=subject.manifest if subject else "",
        before="; ".join(one for one, _ in parts if one),
        after="; ".join(one for _, one in parts if one),
    )


def _facts(stage: Stage) -> dict[str, str]:
    """Return the settings of a release as short texts."""
    app, limit = stage.app, stage.most_failures
    facts: dict[str, Any] = {"percent": f"{stage.percent:g}", "state": stage.state}
    facts["ramp"] = " ".join(f"{_moment(utc)}={percent:g}" for utc, percent in stage.ramp)
    facts["app"] = f"{app.least or 'any'}..{app.below or ''}" if app.least or app.below else ""
    facts["classes"] = " ".join(stage.device_classes)
    facts["from"] = _moment(stage.from_utc) if stage.from_utc else ""
    facts["until"] = _moment(stage.until_utc) if stage.until_utc is not None else ""
    facts["halt-above"] = f"{limit.share * 100:g}% of {limit.of}" if limit else ""
    return {key: text or _UNSET for key, text in facts.items()}


def _sync_facts(policy: RolloutPolicy) -> dict[str, str]:
    """Return the sync settings by the options of `rollout when`."""
    sync = policy.sync
    return {
        "unmetered": "yes" if sync.unmetered else "no",
        "charging": "yes" if sync.charging else "no",
        "quiet-hours": "-".join(map(str, sync.quiet_hours)) if sync.quiet_hours else _UNSET,
        "every-s": str(sync.every_s),
        "spread-s": str(sync.spread_s),
    }


def _moment(utc: int) -> str:
    return datetime.fromtimestamp(utc, UTC).strftime("%Y-%m-%dT%H:%MZ")
