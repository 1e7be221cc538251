"""Results of an experiment that `pocketrec experiment report --publish` computed, in the database.

The server does not analyse events: it shows this summary and how old it is. A summary is a row of
`setting`, one for each channel and experiment; a later one replaces it.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from sqlalchemy import Engine, select

from pocketrec_bundle.encoding.strict_json import (
    MAX_UTC,
    is_integer,
    is_number,
    is_text,
    matches,
    parse_json,
)
from pocketrec_bundle.errors import InputError, PocketRecError
from pocketrec_bundle.settings.experiment import ID, MAX_ARMS, SALT, Experiment
from pocketrec_bundle.settings.experiment_arms import ARM
from pocketrec_experiments.statistics.metrics import METRICS
from pocketrec_server.storage.database import dialect_of, writing
from pocketrec_server.storage.tables import SETTING

MAX_BYTES = 16_384
MAX_WORDS = 1000
MOST = 1 << 40
EVENTS, SUMS = SOURCES = ("events", "sums")
_OF_EVENTS = {"source": EVENTS, "k": None, "epsilon": None}
"""Keys that results of earlier servers lack."""
TONES = ("good", "unsure", "bad")
_DIGITS = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmResult:
    """One arm.

    Attributes:
        arm: name.
        users: that were analysed.
        value: the deciding metric; None without data.
        change: relative to control; None: control, or not known.
        low: lower end of its interval, which holds for all daily looks.
        high: upper end.
        z: of the last look; None: control, or not known.
        bound: an absolute z from here on ends the experiment.
    """

    arm: str
    users: int
    value: float | None = None
    change: float | None = None
    low: float | None = None
    high: float | None = None
    z: float | None = None
    bound: float | None = None

    @property
    def is_known(self) -> bool:
        """Whether the change has an interval, a z and a bound; False for control."""
        return None not in (self.change, self.low, self.high, self.z, self.bound)


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """The summary of a report.

    Attributes:
        experiment: id.
        salt: of the draw that was analysed.
        metric: name of the deciding metric.
        computed_utc: time of the report, unix seconds.
        until_utc: end of the events in it, unix seconds.
        days: days with data.
        planned_days: days of the plan.
        word: the verdict in a few words.
        sentence: its reason with figures.
        tone: one of `TONES`.
        sample_ratio_p: p-value of the numbers of users against the shares.
        arms: control first.
        source: what was analysed, one of `SOURCES`.
        k: of sums: devices that an arm must have to be shown.
        epsilon: of the Laplace noise in sums; None: no noise.
    """

    experiment: str
    salt: str
    metric: str
    computed_utc: int
    until_utc: int
    days: int
    planned_days: int
    word: str
    sentence: str
    tone: str
    sample_ratio_p: float
    arms: tuple[ArmResult, ...]
    source: str = EVENTS
    k: int | None = None
    epsilon: float | None = None


def store_results(engine: Engine, channel: str, results: Results) -> None:
    """Store a summary; it replaces an earlier one.

    Raises:
        InputError: a value is out of its range.
        SQLAlchemyError: the database failed.
    """
    data = json.dumps(asdict(results), allow_nan=False).encode()
    try:
        _results(data)
    except PocketRecError as err:
        raise InputError(f"{results.experiment}: results cannot be published: {err}.") from err
    with writing(engine) as connection:
        insert = dialect_of(connection).insert(SETTING)
        insert = insert.values(name=_name(channel, results.experiment), value=data.decode())
        connection.execute(
            insert.on_conflict_do_update(
                index_elements=["name"], set_={"value": insert.excluded.value}
            )
        )


def read_results(engine: Engine, channel: str, one: Experiment) -> Results | None:
    """Return the summary of an experiment; None without one of its present draw.

    A row that another version of the server cannot read counts as none.

    Raises:
        SQLAlchemyError: the database failed.
    """
    query = select(SETTING.c.value).where(SETTING.c.name == _name(channel, one.id))
    with engine.connect() as connection:
        text = connection.scalar(query)
    if text is None:
        return None
    try:
        found = _results(text.encode())
    except PocketRecError:
        return None
    is_same = (found.experiment, found.salt) == (one.id, one.salt)
    return found if is_same and len(found.arms) == len(one.arms) else None


def _name(channel: str, experiment: str) -> str:
    digest = hashlib.sha256(f"{channel} {experiment}".encode()).hexdigest()
    return f"results {digest[:_DIGITS]}"


def _results(data: bytes) -> Results:
    parsed = parse_json("results", data, MAX_BYTES)
    value = _keyed(_OF_EVENTS | parsed if isinstance(parsed, dict) else parsed, Results)
    arms = value.pop("arms")
    is_sound = (
        matches(ID, value["experiment"])
        and matches(SALT, value["salt"])
        and is_text(value["metric"])
        and value["metric"] in METRICS
        and all(is_integer(value[key], 0, MAX_UTC) for key in ("computed_utc", "until_utc"))
        and all(is_integer(value[key], 0, MOST) for key in ("days", "planned_days"))
        and is_text(value["word"])
        and is_text(value["sentence"], MAX_WORDS)
        and value["tone"] in TONES
        and is_number(value["sample_ratio_p"], 0, 1)
        and value["source"] in SOURCES
        and (value["k"] is None or is_integer(value["k"], 1, MOST))
        and (value["epsilon"] is None or is_number(value["epsilon"], 0))
        and isinstance(arms, list)
        and 2 <= len(arms) <= MAX_ARMS
    )
    if not is_sound:
        raise InputError("a value is out of its range")
    return Results(**value, arms=tuple(_arm(arm) for arm in arms))


def _arm(given: object) -> ArmResult:
    value = _keyed(given, ArmResult)
    figures = [value[key] for key in ("value", "change", "low", "high", "z", "bound")]
    is_sound = (
        matches(ARM, value["arm"])
        and is_integer(value["users"], 0, MOST)
        and all(figure is None or is_number(figure) for figure in figures)
    )
    if not is_sound:
        raise InputError("a value of an arm is out of its range")
    return ArmResult(**value)


def _keyed(value: object, form: type) -> dict[str, Any]:
    if not isinstance(value, Mapping) or value.keys() != {each.name for each in fields(form)}:
        raise InputError("keys are missing or unknown")
    return dict(value)
