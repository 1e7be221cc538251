"""Cohorts of devices by app version and device class, and the release that each one gets; no I/O.

No figure of the server identifies a device, so there is no search for one. The policy names all
cohorts that it treats differently: its app versions and device classes split the devices.
"""

from collections.abc import Collection
from dataclasses import dataclass

from pocketrec_bundle.settings.app_versions import version_of
from pocketrec_bundle.settings.rollout import RolloutPolicy, Stage
from pocketrec_server.repository.standing import KEPT, LIVE, UNOFFERED, standings

OTHER, ALL = "other classes", "all classes"
ANY = "any version"
_NOBODY = 1e-9
_OPEN = (LIVE, KEPT, UNOFFERED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cohort:
    """Devices that the policy treats alike.

    Attributes:
        app: their app versions, e.g. "2.0 to before 3".
        device_class: their device class, OTHER, or ALL if no release names a class.
        gets: releases that they get if they sync now, each with its share of these devices.
        nothing: share that gets no release.
    """

    app: str
    device_class: str
    gets: tuple[tuple[Stage, float], ...]
    nothing: float


def cohorts(policy: RolloutPolicy, halted: Collection[str], now_utc: float) -> list[Cohort]:
    """Return all cohorts of a channel; a policy without restrictions has one.

    Args:
        policy: policy of the channel.
        halted: manifests of the halted releases.
        now_utc: current time, unix seconds.
    """
    stands = standings(policy, halted, now_utc)
    offered = [
        (stage, stage.percent_at(now_utc) / 100)
        for stage, standing in zip(policy.releases, stands, strict=True)
        if standing.state in _OPEN
    ]
    classes = sorted({name for stage, _ in offered for name in stage.device_classes})
    bounds = {text for stage, _ in offered for text in (stage.app.least, stage.app.below) if text}
    limits = sorted({version_of(text): text for text in sorted(bounds)}.items())
    found = []
    for name in [*classes, OTHER if classes else ALL]:
        for n in range(len(limits) + 1):
            version = limits[n - 1][0] if n else None
            gets, left = [], 1.0
            for stage, percent in offered:
                share = left * percent
                if share > _NOBODY and _fits(stage, name, version):
                    gets.append((stage, share))
                    left -= share
            app = _named([text for _, text in limits], n)
            nothing = left if left > _NOBODY else 0.0
            found.append(Cohort(app=app, device_class=name, gets=tuple(gets), nothing=nothing))
    return found


def _named(limits: list[str], n: int) -> str:
    """Return the app versions between two neighbouring limits in words."""
    if not limits:
        return ANY
    if n == 0:
        return f"before {limits[0]}"
    return (
        f"{limits[n - 1]} and later"
        if n == len(limits)
        else f"{limits[n - 1]} to before {limits[n]}"
    )


def _fits(stage: Stage, device_class: str, version: tuple[int, ...] | None) -> bool:
    """Return whether a release is for a class and the app versions that begin with `version`."""
    if stage.device_classes and device_class not in stage.device_classes:
        return False
    least, below = stage.app.least, stage.app.below
    if least and (version is None or version < version_of(least)):
        return False
    return not (below and version is not None and version >= version_of(below))
