"""Whether a split leaves cases to validate and test with, checked before anything is trained.

A case is a user with history before the first held-out event (`Dataset.held_out`). Without
validation cases nothing can choose the epochs; without test cases nothing can be reported.
"""

from dataclasses import replace
from typing import get_args

import numpy as np

from pocketrec_training.data.dataset import TEST, TRAIN, VALID, Dataset
from pocketrec_training.data.folds import folds, least_events, random_folds
from pocketrec_training.errors import RunInvalidError
from pocketrec_training.recipe.bounds import SplitKind
from pocketrec_training.recipe.schema import Recipe, uses_time
from pocketrec_training.recipe.tables import Split

FOLDS = {"validation": VALID, "test": TEST}
MOST_TIED = 0.05
"""Share of tied cases above which `leave_last` is warned of."""
TOO_TIED = 0.5
"""Share of tied cases above which `leave_last` is refused: it has no order to learn from."""
FEW_CASES = 30
"""With fewer cases a split is not worth changing to."""


def check_split(recipe: Recipe, data: Dataset, where: str) -> None:
    """Refuse a split that leaves a fold without cases, or that needs an order the times lack.

    `split.test_share = 0` with `global_time` asks for no test, so there it may have none.

    Args:
        recipe: names the split.
        data: its interactions, with folds.
        where: begins the error's text, the data folder.

    Raises:
        RunInvalidError: nobody has two training events, a fold has no case, or most held-out events
            have the time of the event before; the text has the numbers and the splits that would
            work.
    """
    no_test = asks_for_no_test(recipe.split)
    for name, fold in FOLDS.items():
        if data.held_out(fold) or (fold == TEST and no_test):
            continue
        n_events, n_users = _held_out_events(data, fold)
        found = f"none of the {data.n_users} users has a {name} event"
        if n_events:
            found = (
                f"{n_users} of the {data.n_users} users have the {n_events} {name} events, and "
                "none of them has an event before these"
            )
        raise RunInvalidError(
            f'{where}: split.kind = "{recipe.split.kind}" leaves no {name} case: {found}. '
            f"{_rule(recipe.split, data)} {_advice(_alternatives(recipe, data))}"
        )
    if _most_trained(data) < 2:
        raise RunInvalidError(
            f'{where}: split.kind = "{recipe.split.kind}" leaves none of the {data.n_users} users '
            "two training events, so no next item can be learned. "
            f"{_advice(_alternatives(recipe, data))}"
        )
    if max(tied_last_share(data).values(), default=0.0) > TOO_TIED:
        raise RunInvalidError(f"{where}: {tie_warning(recipe, data)}")


def asks_for_no_test(split: Split) -> bool:
    """Whether the recipe keeps no test events on purpose."""
    return split.kind == "global_time" and not split.test_share


def check_heads(recipe: Recipe, data: Dataset, where: str) -> None:
    """Refuse a head without a single example in the data.

    Raises:
        RunInvalidError: no event is a like, and the ranker has the head.
    """
    types = recipe.events.types
    if recipe.objectives or "like" not in recipe.ranker.heads:
        return
    if "like" in types and (data.events == types.index("like")).any():
        return
    made = "events.like_value" if recipe.events.like_value is not None else "columns.event"
    raise RunInvalidError(
        f"{where}: ranker.heads has 'like', and none of the {len(data.events)} events is a like. "
        f'Set ranker.heads = ["engage"] and ranker.head_weights = [1.0], or mend {made}.'
    )


def _most_trained(data: Dataset) -> int:
    """Return the most training events that one user has."""
    return int(np.bincount(data.event_users[data.fold == TRAIN], minlength=1).max())


def tied_last_share(data: Dataset) -> dict[str, float]:
    """Return, by fold, the share of cases whose held-out event has the time of the one before.

    Which of two such events is held out is drawn by a hash, so it cannot be predicted from the
    order. Folds without cases are left out.
    """
    found = {}
    for name, fold in FOLDS.items():
        at = np.array([data.offsets[user] + end for user, end in data.held_out(fold)], np.int64)
        if len(at):
            found[name] = float((data.ts[at] == data.ts[at - 1]).mean())
    return found


def tie_warning(recipe: Recipe, data: Dataset) -> str:
    """Return what to tell a person about tied times; empty if few cases are tied."""
    shares = tied_last_share(data)
    if max(shares.values(), default=0.0) <= MOST_TIED:
        return ""
    told = " and ".join(f"{share:.1%} of the {name} cases" for name, share in shares.items())
    others = _alternatives(recipe, data)
    enough = {told: n for told, n in others.items() if n >= FEW_CASES}
    advice = _advice(enough or others)
    if others and not enough:
        advice = (
            f"The other splits leave too few cases: {', '.join(others)}. Bring times of a finer "
            "resolution."
        )
    return (
        f'split.kind = "{recipe.split.kind}": in {told} the held-out event has the same time as '
        "the event before it, so a hash decides which of them is held out, and the figures "
        f"measure that draw too. {advice}"
    )


def no_times_told(kind: str) -> str:
    """Return what to tell a person about a split that uses no times; empty if it uses them.

    Tables without times have such a split: no other is accepted.
    """
    if kind not in ("random", "given"):
        return ""
    drawn = "the held-out items are a seeded draw of each user's items"
    if kind == "given":
        drawn = "the held-out interactions are those of your column or files"
    return (
        f'no times are used (split.kind = "{kind}"): sequence and recency features are off, and '
        f"{drawn}. Figures cannot be compared with those of a split in time."
    )


def _held_out_events(data: Dataset, fold: int) -> tuple[int, int]:
    """Number of events of a fold, and of the users that have them."""
    chosen = data.fold == fold
    return int(chosen.sum()), len(np.unique(data.event_users[chosen]))


def _rule(split: Split, data: Dataset) -> str:
    """Say what the split holds out, and how far the data is from it."""
    longest = int(np.diff(data.offsets).max(initial=0))
    match split.kind:
        case "leave_last":
            return (
                f"It takes the last two events of each user with at least "
                f"{least_events(split)} events (max(split.min_user_events = "
                f"{split.min_user_events}, 3)); the longest history has {longest}."
            )
        case "last_basket":
            return (
                "It takes the last two baskets (events of one time) of each user with at least "
                f"three baskets and {split.min_user_events} events (split.min_user_events); the "
                f"longest history has {longest} events in {_most_baskets(data)} baskets."
            )
        case "random":
            return (
                "It takes a share of the items of each user with at least "
                f"{least_events(split)} items (max(split.min_user_events = "
                f"{split.min_user_events}, 3)); the longest history has {longest} events."
            )
        case "given":
            return "It takes the interactions that your files or split.column hold out."
        case _:
            return (
                f"It takes the latest {split.valid_share + split.test_share:.0%} of all events "
                "(split.valid_share + split.test_share), whoever they are of."
            )


def _most_baskets(data: Dataset) -> int:
    counts = np.zeros(data.n_users, np.int64)
    new = np.ones(len(data.ts), np.bool_)
    users = data.event_users
    new[1:] = (np.diff(data.ts) != 0) | (np.diff(users) != 0)
    np.add.at(counts, users[new], 1)
    return int(counts.max(initial=0))


def _advice(others: dict[str, int]) -> str:
    if not others:
        return "No other split gives cases: bring more events of each user."
    return f"Use {', or '.join(others)}."


def _alternatives(recipe: Recipe, data: Dataset) -> dict[str, int]:
    """Return the splits that give cases, in words, and the cases of the smaller fold.

    The splits with the most cases are first, a random one is last.
    """
    found: dict[str, tuple[int, str]] = {}
    if all(data.held_out(fold) for fold in FOLDS.values()):
        found[recipe.split.kind] = (0, "")  # not one to change to
    for split in _others(recipe.split) if uses_time(recipe) else []:
        if split.kind == "given":
            continue  # nobody gave one
        if split.kind == "random":
            found.setdefault("random", _drawn(recipe.split, split, data))
            continue
        made = replace(data, fold=folds(replace(recipe, split=split), data.offsets, data.ts))
        n_valid, n_test = (len(made.held_out(fold)) for fold in FOLDS.values())
        if split.kind in found or not (n_valid and n_test and _most_trained(made) > 1):
            continue
        tied = max(tied_last_share(made).values())
        if tied > TOO_TIED:
            continue
        told = f'split.kind = "{split.kind}"'
        if split.min_user_events != recipe.split.min_user_events:
            told += f" and split.min_user_events = {split.min_user_events}"
        told += f" ({n_valid} validation and {n_test} test cases"
        told += f", {tied:.0%} of them tied)" if tied > MOST_TIED else ")"
        found[split.kind] = (min(n_valid, n_test), told)
    drawn = found.pop("random", (0, ""))  # the last choice: it gives up the times
    return {told: n for n, told in [*sorted(found.values(), reverse=True), drawn] if n}


def _drawn(present: Split, split: Split, data: Dataset) -> tuple[int, str]:
    """Return the number of cases of a random split, and the split in words."""
    tie = data.rows.astype(np.uint32)
    fold = random_folds(split, data.event_users, tie)
    n = len(np.unique(data.event_users[fold == TEST]))
    told = 'split.kind = "random"'
    if split.min_user_events != present.min_user_events:
        told += f" and split.min_user_events = {split.min_user_events}"
    return n, f"{told} (without times, {n} validation and {n} test cases)"


def _others(split: Split) -> list[Split]:
    """Return every kind of split, then those that go by user with the least `min_user_events`."""
    default = Split()
    valid_share = split.valid_share or default.valid_share
    test_share = split.test_share or default.test_share
    return [
        replace(
            split,
            kind=kind,
            min_user_events=least,
            valid_share=valid_share,
            test_share=test_share,
        )
        for least in (split.min_user_events, min(3, split.min_user_events))
        for kind in get_args(SplitKind)
    ]
