"""The result of one simulated phone."""

from collections import Counter
from dataclasses import dataclass, field, fields
from typing import Any


@dataclass(slots=True, kw_only=True)
class SessionResult:
    """The result of one phone. Times in ms are measured on this machine; sync_s is modelled.

    Attributes:
        release: name of the active release at the end.
        total_ms: time of each slate, all stages without the log.
        first_ms: time from opening the app to its first slate, with log and disk.
        sources: number of answers by source.
        faults: number of faults by text.
        put_off: number of syncs that had to wait, by reason.
        unanswered: requests without items although a release was installed.
        acts: interactions of the user.
        events: events in the log, of all kinds.
        events_sent: events that the server accepted.
        syncs: completed syncs.
        installs: installed releases.
        bytes_down: bytes received by syncs.
        sync_s: modelled transfer time of syncs, in seconds.
        arm: arm of the observed experiment in the last slate that had one; None: no slate had one.
        left_arm: whether the phone left the arm: later slates had none, as after a halt.
        shown: impressions since the first slate of the arm, also of slates after a halt.
        clicks: of these impressions.
        expected_clicks: sum of the click probabilities of these impressions, by the user model.
    """

    release: str | None = None
    total_ms: list[float] = field(default_factory=list)
    first_ms: list[float] = field(default_factory=list)
    sources: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    put_off: Counter[str] = field(default_factory=Counter)
    unanswered: int = 0
    acts: int = 0
    events: int = 0
    events_sent: int = 0
    syncs: int = 0
    installs: int = 0
    bytes_down: int = 0
    sync_s: float = 0.0
    arm: str | None = None
    left_arm: bool = False
    shown: int = 0
    clicks: int = 0
    expected_clicks: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {each.name: getattr(self, each.name) for each in fields(self)}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "SessionResult":
        """Build a result from `to_json`."""
        counters = ("sources", "faults", "put_off")
        return cls(**value | {name: Counter(value[name]) for name in counters})
