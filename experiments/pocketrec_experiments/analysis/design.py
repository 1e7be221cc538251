"""The experiment as it was planned: arms, shares, times, guardrails."""

from dataclasses import dataclass, field

from pocketrec_bundle.errors import InputError
from pocketrec_bundle.settings.experiment import OPEN, RUNNING
from pocketrec_bundle.settings.experiments import Experiments
from pocketrec_bundle.settings.halted_arms import HaltedArms


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

    @property
    def name(self) -> str:
        """Metric and limit, such as "slate_ms:0.05": a metric may have several limits."""
        return f"{self.metric}:{self.worse_by}"


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
        state: running, paused, stopped, killed or shipped.
        winner: the shipped arm.
        ended_utc: unix seconds of the end before the planned one; None: it is not known.
        halted: reason by arm that is halted; empty without the channel's halts.
    """

    id: str
    salt: str
    arms: dict[str, float]
    from_utc: int
    until_utc: int
    hypothesis: str = ""
    guards: tuple[Guard, ...] = ()
    state: str = RUNNING
    winner: str | None = None
    ended_utc: int | None = None
    halted: dict[str, str] = field(default_factory=dict)

    @property
    def is_open(self) -> bool:
        """Whether devices are still in the arms."""
        return self.state in OPEN

    @property
    def data_until_utc(self) -> int:
        """Events from here on are not analysed: the known or the planned end."""
        known = self.until_utc if self.ended_utc is None else self.ended_utc
        return min(known, self.until_utc)

    @property
    def control(self) -> str:
        """Name of the control arm."""
        return next(iter(self.arms))

    @property
    def treatments(self) -> list[str]:
        """Names of the other arms."""
        return list(self.arms)[1:]

    @classmethod
    def of(
        cls,
        signed: Experiments,
        name: str,
        ended_utc: int | None = None,
        halts: HaltedArms | None = None,
    ) -> "Design":
        """Return the design of an experiment of a channel.

        Args:
            signed: experiments of the channel.
            name: of the experiment.
            ended_utc: unix seconds at which it was stopped, killed or shipped; None: not known.
            halts: halted arms of the channel; None: not known.

        Raises:
            InputError: the channel has no such experiment, or it ended before its start.
        """
        found = signed.find(name)
        if found is None:
            there = ", ".join(each.id for each in signed.experiments) or "none"
            raise InputError(
                f"channel {signed.channel}: no experiment {name!r}; its experiments: {there}."
            )
        if ended_utc is not None and ended_utc <= found.from_utc:
            raise InputError(
                f"experiment {name}: its end {ended_utc} is not after its start {found.from_utc}"
                " (unix seconds)."
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
            state=found.state,
            winner=found.winner,
            ended_utc=ended_utc,
            halted={
                arm.name: why
                for arm in found.arms
                if halts is not None and (why := halts.reason(found, arm.name)) is not None
            },
        )
