"""Describe a change of a channel's experiments for the history: the settings that differ."""

from datetime import UTC, datetime

from pocketrec_bundle.settings.experiments import Experiments

_LONGEST = 60
"""Characters of a hypothesis in the history."""


def change_of(before: Experiments, after: Experiments, name: str) -> tuple[str, str]:
    """Return the settings that changed, of an experiment or of all, for the history."""
    old, new = _facts(before, name), _facts(after, name)
    if not old or not new:
        return ", ".join(old.values()), ", ".join(new.values())
    keys = [key for key in new if old[key] != new[key]]
    return ", ".join(old[key] for key in keys), ", ".join(new[key] for key in keys)


def _facts(experiments: Experiments, name: str) -> dict[str, str]:
    """Return each setting as a short text; no text for an experiment that does not exist."""
    if not name:
        held = experiments.holdout
        return {
            "holdout": f"holdout {held.share:g}" if held else "no holdout",
            "conversions": f"conversions {' '.join(experiments.conversions)}",
        }
    one = experiments.find(name)
    if one is None:
        return {}
    ramp_text = " ".join(f"{_moment(at)}={percent:g}" for at, percent in one.ramp)
    rails = ", ".join(f"{each.metric} {each.worse_by:g} {each.alpha:g}" for each in one.guardrails)
    return {
        "state": f"{one.state}{f' {one.winner}' if one.winner else ''}",
        "percent": f"{one.percent:g}% of {one.layer} {one.segment[0]:g}..{one.segment[1]:g}",
        "arms": ", ".join(f"{arm.name} {arm.share:g}" for arm in one.arms),
        "until": f"until {_moment(one.until_utc)}",
        "salt": f"salt {one.salt[:8]}",
        "ramp": f"ramp {ramp_text}" if ramp_text else "no ramp",
        "guardrails": f"guardrails {rails}" if rails else "no guardrails",
        "hypothesis": f"hypothesis {one.hypothesis[:_LONGEST]!r}",
    }


def _moment(utc: int) -> str:
    return datetime.fromtimestamp(utc, UTC).strftime("%Y-%m-%dT%H:%MZ")
