"""The experiment as it was planned: arms, shares, times, guardrails."""

from dataclasses import dataclass

from pocketrec_bundle.errors import InputError
from pocketrec_bundle.settings.experiments import Experiments


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """A metric that must not get worse.

    Attributes:
        metric: name of the metric, such as "slate_ms".
        worse_by: tolerated relative change for the worse; 0.05 is 5%.
        alpha: probability of a false alarm over the whole experiment.
    """

    metric: str
    worse_by: float
    alpha: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """What the report needs to know of an experiment.

    Attributes:
        id: name of the experiment.
        hypothesis: what was expected, for people.
        salt: hex; exposures of another salt belong to an earlier draw and are left out.
        arms: shares by name; the first is control.
        from_utc: unix seconds of the start.
        until_utc: unix seconds of the planned end.
        guards: guardrails.
    """

    id: str
    salt: str
    arms: dict[str, float]
    from_utc: int
    until_utc: int
    hypothesis: str = ""
    guards: tuple[Guard, ...] = ()

    @property
    def control(self) -> str:
        """Name of the control arm."""
        return next(iter(self.arms))

    @property
    def treatments(self) -> list[str]:
        """Names of the other arms."""
        return list(self.arms)[1:]

    @classmethod
    def of(cls, signed: Experiments, name: str) -> "Design":
        """Return the design of an experiment of a channel.

        Raises:
            InputError: the channel has no such experiment.
        """
        found = signed.find(name)
        if found is None:
            there = ", ".join(each.id for each in signed.experiments) or "none"
            raise InputError(
                f"channel {signed.channel}: no experiment {name!r}; its experiments: {there}."
            )
        return cls(
            id=found.id,
            hypothesis=found.hypothesis,
            salt=found.salt,
            arms={arm.name: arm.share for arm in found.arms},
            from_utc=found.from_utc,
            until_utc=found.until_utc,
            guards=tuple(
                Guard(metric=each.metric, worse_by=each.worse_by, alpha=each.alpha)
                for each in found.guardrails
            ),
        )
