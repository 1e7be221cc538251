"""Which split, events and sizes a recipe gets, and why."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from pocketrec_training.data.splits.check import FEW_CASES, MOST_TIED
from pocketrec_training.table_profile import names
from pocketrec_training.table_profile.columns import ColumnProfile
from pocketrec_training.table_profile.facts import EventFacts
from pocketrec_training.table_profile.roles import is_rating
from pocketrec_training.table_profile.tables import TableProfile

EVENT_STEPS = 8_000_000
"""Events that all epochs together read: about five minutes on two cores."""
MANY_EVENTS = 500_000
"""From here on there are few epochs, which learn faster and end in an average of the weights."""
FEW_ITEMS = 5_000
"""Items, up to which 128 neighbours of each take 3 MB at most."""
MOST_NEIGHBOURS = 20_000
"""Items, above which the fit of neighbours needs too much memory."""
REPEATED = 0.1
"""Share of events that repeat an item, above which repeats are recommended."""
DAY_S, WEEK, LONG = 86_400, 7, 60
"""Seconds of a day; days of data from which popularity has half-lives, and long ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A recipe key, its value, and the reason as a comment."""

    key: str
    value: object
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """Settings of a recipe, beside its tables and columns.

    Attributes:
        split: `split.kind`, with the reason.
        settings: the others, in the order of the recipe.
    """

    split: Setting
    settings: tuple[Setting, ...]


def propose(
    log: TableProfile,
    facts: EventFacts,
    *,
    has_time: bool,
    files: Mapping[str, Path] = MappingProxyType({}),
) -> Proposal:
    """Choose the settings for a table of interactions.

    Args:
        log: the interactions, all or those of training.
        facts: of them.
        has_time: whether they have times.
        files: "valid" and "test" -> file of held-out interactions; empty if the files are no split.
    """
    given = _given(log, files)
    split = given[0] if given else propose_split(facts, has_time=has_time)
    least = 5 if facts.users_by_events["5-19"] + facts.users_by_events["20+"] >= FEW_CASES else 3
    settings = [
        *_events(log),
        *given[1:],
        Setting(key="split.min_user_events", value=least),
        *_sizes(facts, log.sample.n_rows),
        *_neighbours(facts),
        *_ranker(facts, ordered=split.value not in ("random", "given")),
        *_rules(facts),
    ]
    return Proposal(split=split, settings=tuple(settings))


def _given(log: TableProfile, files: Mapping[str, Path]) -> list[Setting]:
    """Return `split.kind` and its keys if somebody has split the interactions already."""
    kind = "split.kind"
    if files:
        names_of = " and ".join(path.name for path in files.values())
        why = f"held out: {names_of}; times are not used"
        found = [
            Setting(key=f"split.{name}", value=path.as_posix()) for name, path in files.items()
        ]
        return [Setting(key=kind, value="given", why=why), *found]
    if (choice := log.roles.get("split")) is None:
        return []
    return [
        Setting(key=kind, value="given", why="a column says it; times are not used"),
        Setting(key="split.column", value=choice.column, why=choice.why),
    ]


def propose_split(facts: EventFacts, *, has_time: bool) -> Setting:
    """Choose `split.kind`.

    Returns:
        `random` without usable times; `leave_last` if times order the last events of nearly all
        users; else `last_basket` or `global_time`, the one with more cases.
    """
    key = "split.kind"
    if not has_time:
        return Setting(key=key, value="random", why="there are no times, so nothing has an order")
    if facts.one_time:
        return Setting(key=key, value="random", why="all times are equal")
    tied = f"{facts.tied_last_share:.1%} of the users' last events have the time of the one before"
    cases = facts.cases
    if facts.tied_last_share <= MOST_TIED and cases["leave_last"]:
        told = f"{tied}; {cases['leave_last']:,} cases"
        return Setting(key=key, value="leave_last", why=told)
    best = max(("last_basket", "global_time"), key=cases.__getitem__)
    if cases[best] >= min(FEW_CASES, 0.5 * facts.n_users):
        return Setting(key=key, value=best, why=f"{tied}; {cases[best]:,} cases")
    told = f"{tied}, and splits by time leave {cases[best]} cases"
    return Setting(key=key, value="random", why=told)


def _events(log: TableProfile) -> list[Setting]:
    event, value = log.column("event"), log.column("value")
    if event is not None:
        kinds = [name for name, _ in event.counts.most_common()]
        return [
            Setting(key="events.default", value=kinds[0]),
            Setting(key="events.types", value=kinds, why="by how often they occur"),
        ]
    if value is not None and is_rating(value):
        return [
            Setting(key="events.default", value="rating"),
            Setting(key="events.types", value=["rating", "like"]),
            Setting(
                key="events.like_value",
                value=like_value(value),
                why=f"ratings from here on are likes; they go up to {value.high:g}",
            ),
        ]
    kind = _kind(log, value)
    return [Setting(key="events.default", value=kind), Setting(key="events.types", value=[kind])]


def like_value(value: ColumnProfile) -> float:
    """Return four fifths of the scale: 4 of 5 stars, 8 of 10, 80 of 100; 1 of 0 and 1."""
    scale = next((each for each in (1, 5, 10, 100) if value.high <= each), math.ceil(value.high))
    return 1.0 if scale == 1 else 0.8 * scale


def _kind(log: TableProfile, value: ColumnProfile | None) -> str:
    if value is not None and names.is_named(value.name, names.PLAYS):
        return "play"
    every = [each.name for each in log.columns]
    if any(names.is_named(each, names.PURCHASE) for each in every):
        return "purchase"
    return "click" if "click" in log.sample.path.name.lower() else "interaction"


def _sizes(facts: EventFacts, n_rows: int) -> list[Setting]:
    """Small data get small models, and many events few epochs."""
    history = next((each for each in (10, 20, 50, 100) if facts.length_90 <= each), 100)
    small = n_rows < 20_000
    epochs = max(4, min(30, EVENT_STEPS // n_rows))
    many = [
        Setting(key="retrieval.learning_rate", value=0.002, why="few epochs, so larger steps"),
        Setting(key="retrieval.average", value=0.999),
    ]
    return [
        Setting(key="retrieval.dim", value=32 if small else 64, why=f"{n_rows:,} interactions"),
        Setting(key="retrieval.blocks", value=1 if small else 2),
        Setting(
            key="retrieval.max_history",
            value=history,
            why=f"90% of the users have at most {facts.length_90:,} events",
        ),
        Setting(key="retrieval.batch", value=64),
        Setting(key="retrieval.epochs", value=epochs, why="at most; training stops earlier"),
        Setting(key="retrieval.patience", value=max(2, min(6, epochs // 3))),
        *(many if n_rows >= MANY_EVENTS else ()),
    ]


def _neighbours(facts: EventFacts) -> list[Setting]:
    if facts.n_items > MOST_NEIGHBOURS:
        return []
    return [
        Setting(key="neighbours.kind", value="auto", why="the best kind on validation"),
        Setting(
            key="neighbours.per_item",
            value=max(1, min(128 if facts.n_items <= FEW_ITEMS else 64, facts.n_items - 1)),
            why="5 bytes each in the release; fewer rank a little worse",
        ),
    ]


def _ranker(facts: EventFacts, *, ordered: bool) -> list[Setting]:
    """Let the ranker start from simple methods, and know what is popular now."""
    why = "it starts from a mix of simple methods, fitted on validation"
    found = [Setting(key="ranker.blend", value=True, why=why)]
    days = ((facts.last_ts or 0) - (facts.first_ts or 0)) / DAY_S
    if days >= WEEK and ordered:
        why = f"the data span {days:,.0f} days, and popularity changes"
        half_lives = [30, 7] if days >= LONG else [7, 1]
        found.append(Setting(key="ranker.popularity_days", value=half_lives, why=why))
    return found


def _rules(facts: EventFacts) -> list[Setting]:
    found = []
    if facts.repeat_share > REPEATED:
        why = f"{facts.repeat_share:.0%} of the events repeat an item of the user"
        found.append(Setting(key="rerank.repeats", value=True, why=why))
    return found
