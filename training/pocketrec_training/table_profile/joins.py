"""Whether the ids of two tables agree, and which change of them would make them agree."""

import re
from collections.abc import Callable, Set
from dataclasses import dataclass
from itertools import islice

CHANGES: dict[str, Callable[[str], str]] = {
    "without '.0' at the end": lambda text: re.sub(r"\.0+$", "", text),
    "without leading zeros": lambda text: text.lstrip("0") or text[:1],
    "in lower case": str.casefold,
    "without blanks and quotes around": lambda text: text.strip(" \t\"'"),
}

LOOKED_AT = 200
"""Ids of each table that show whether a change changes anything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinFacts:
    """How many ids of one table are in another.

    Attributes:
        n: distinct ids of the first table.
        found: of them in the second table.
        missing: up to three of the others.
        known: up to three ids of the second table.
        change: a change of both tables' ids after which more agree; empty if none helps.
        found_after: ids found after it.
    """

    n: int
    found: int
    missing: tuple[str, ...] = ()
    known: tuple[str, ...] = ()
    change: str = ""
    found_after: int = 0

    @property
    def share(self) -> float:
        """Share of ids that were found, 0 to 1."""
        return self.found / self.n if self.n else 0.0


def join_facts(ids: Set[str], known: Set[str]) -> JoinFacts:
    """Compare the ids of interactions with those of a table.

    >>> join_facts({"1.0", "2.0"}, {"1", "2"}).change
    "without '.0' at the end"
    """
    found = len(ids & known)
    best, found_after = "", found
    if found < len(ids):
        for change, apply in CHANGES.items():
            n = len({apply(each) for each in ids} & {apply(each) for each in known})
            if n > found_after:
                best, found_after = change, n
    return JoinFacts(
        n=len(ids),
        found=found,
        missing=tuple(sorted(ids - known)[:3]),
        known=tuple(sorted(known)[:3]),
        change=best,
        found_after=found_after,
    )


def agreement(ids: Set[str], known: Set[str]) -> float:
    """Return how well two sets of ids agree, 0 to 1, after the change that helps most.

    Numbers from 1 of users are also among the numbers from 1 of many items, so of numbers both sets
    have to be alike (Jaccard's index). Of other texts it suffices that the ids are known.
    """
    if not ids or not known:
        return 0.0
    share = _alike(ids, known)
    if share >= 0.5:
        return share
    some = [*islice(ids, LOOKED_AT), *islice(known, LOOKED_AT)]
    for apply in CHANGES.values():
        if any(apply(each) != each for each in some):
            changed = _alike({apply(each) for each in ids}, {apply(each) for each in known})
            share = max(share, 0.9 * changed)
    return share


def _alike(ids: Set[str], known: Set[str]) -> float:
    common = ids & known
    numbers = sum(each.isdigit() for each in common) > 0.5 * len(common)
    return len(common) / (len(ids | known) if numbers else len(ids))
