"""What the experiments of a device mean for one slate."""

from dataclasses import dataclass, field, replace

from pocketrec_edge.events.slate_events import Exposure
from pocketrec_edge.experiments.assigned import Assigned
from pocketrec_edge.faults import Fault
from pocketrec_edge.recommend.query import NO_OVERRIDES, Overrides


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Versus:
    """The second arm of an interleaved slate.

    Attributes:
        overrides: settings of the second arm; those of the slate are the first arm's.
        teams: names of both arms.
        salt: of the experiment; the draw is made from it and the request's id.
    """

    overrides: Overrides
    teams: tuple[str, str]
    salt: bytes


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SlateArms:
    """What the experiments of a device mean for one slate.

    Attributes:
        overrides: settings that replace the release's.
        arms: arm by experiment id, of running experiments.
        exposures: to log with the slate.
        faults: arms that do not fit the release.
        versus: merge the slate with one of these settings; None: one slate.
    """

    overrides: Overrides = NO_OVERRIDES
    arms: dict[str, str] = field(default_factory=dict)
    exposures: tuple[Exposure, ...] = ()
    faults: tuple[Fault, ...] = ()
    versus: Versus | None = None


NO_ARMS = SlateArms()


def versus_of(mixed: Assigned, overrides: Overrides) -> Versus:
    """Return the second arm of an interleaved experiment; overrides: with its settings."""
    first, second = mixed.experiment.arms
    salt = bytes.fromhex(mixed.experiment.salt)
    return Versus(overrides=overrides, teams=(first.name, second.name), salt=salt)


def with_arm(
    assigned: tuple[Assigned, ...], at: int, of: Assigned | None = None
) -> tuple[Assigned, ...]:
    """Return the arms with this one of interleaved experiments; `of`: the others keep control."""
    return tuple(
        replace(one, arm=one.experiment.arms[at if of in (None, one) else 0])
        if one.interleaves
        else one
        for one in assigned
    )
