"""Settings of a simulated run, the same for all phones."""

from dataclasses import dataclass, field

from pocketrec_bundle.settings.experiment_arms import FlagValue
from pocketrec_edge.simulator.user_model import OPENS_PER_HOUR

START_UTC = 1_767_571_200
"""Start of simulated time: Monday, 2026-01-05, 00:00 UTC."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Settings of a run, the same for all phones.

    Attributes:
        bundle: folder of the release that ships with the app, or None.
        server: address of the server; None: phones never sync.
        root: path of the pinned root, see `sync`.
        channel: the channel to follow.
        engine: the inference engine.
        minutes: length of the simulated time.
        anytime: sync also on metered networks and on battery.
        sync_every_min: minutes between two syncs.
        consent: users agree that events are sent.
        seed: seed of all random draws.
        k: slate size; None: the release's.
        start_utc: start of simulated time, unix seconds.
        opens_per_hour: mean rate at which a user opens the app.
        experiment: id of the experiment that is observed; None: none.
        flags: flags that the app reads when it is opened, with their defaults.
        appeal: by arm of the experiment, the factor of the click probabilities of its users.
        syncs_at_end: sync once more at the end, on any network, so that all events are sent.
        networks: number of networks that the phones connect from, see loopback_networks.py; 1: the
            one that the system chooses.
    """

    bundle: str | None
    server: str | None
    root: str | None
    channel: str
    engine: str
    minutes: float
    anytime: bool
    sync_every_min: float
    consent: bool
    seed: int
    k: int | None = None
    start_utc: int = START_UTC
    opens_per_hour: float = OPENS_PER_HOUR
    experiment: str | None = None
    flags: dict[str, FlagValue] = field(default_factory=dict)
    appeal: dict[str, float] = field(default_factory=dict)
    syncs_at_end: bool = False
    networks: int = 1
