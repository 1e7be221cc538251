"""Cold start of a user: chosen categories become the first events of the history.

The most popular items of each chosen category stand before the real events, as if the user had
interacted with them first. The user tower reads the last `max_history` events, so real events push
them out.
"""

import difflib
import json
from collections.abc import Sequence

import numpy as np

from pocketrec_bundle.disk.files import canonical_json
from pocketrec_bundle.errors import InputError, PocketRecError
from pocketrec_bundle.features import FeatureSpec, History
from pocketrec_bundle.items.cohorts import Cohorts
from pocketrec_edge.phone_home import PhoneHome
from pocketrec_edge.private_files import write_private

ITEMS_EACH = 3
"""Items per interest, tuned on validation events by `bench session`."""
EVENT = 0
"""Event type of these items: the release's first type; a like gives the same results."""
MAX_FILE_BYTES = 1 << 20
_NEAR = 5


def offered(spec: FeatureSpec, cohorts: Cohorts | None) -> tuple[str, ...]:
    """Return the names of the available categories, largest first."""
    codes = [] if cohorts is None else cohorts.codes.tolist()
    return tuple(spec.categories[code - 1] for code in codes if code)


def checked(names: Sequence[str], known: Sequence[str]) -> tuple[str, ...]:
    """Return the names in order, without duplicates.

    Args:
        names: names of categories.
        known: the available categories.

    Raises:
        InputError: a category is not available; the message names the nearest one.
    """
    unknown = [name for name in names if name not in known]
    if not unknown:
        return tuple(dict.fromkeys(names))
    if not known:
        raise InputError(
            "There is nothing to choose: no release with lists of categories is installed. Format"
            " version 2 has them where items have categories."
        )
    folded = {name.casefold(): name for name in known}
    near = difflib.get_close_matches(unknown[0].casefold(), folded, _NEAR, 0.5)
    hint = ", ".join(repr(folded[name]) for name in near) or ", ".join(map(repr, known[:_NEAR]))
    raise InputError(f"{unknown[0]!r}: not an available category of this release; try {hint}.")


def with_interests(
    spec: FeatureSpec,
    cohorts: Cohorts | None,
    chosen: Sequence[str],
    history: History,
    now_utc: int,
    *,
    each: int = ITEMS_EACH,
    event: int = EVENT,
) -> History:
    """Insert the most popular items of the chosen categories before a history.

    Each category contributes its first `each` items, the most popular last; duplicates are
    removed. They get the time of the first real event, or now. They only fill the room that the
    real events leave in the tower's input; the least popular are dropped first.

    Args:
        spec: the release's features.
        cohorts: its lists; None inserts nothing.
        chosen: names of categories; unknown ones are skipped.
        history: the real events.
        now_utc: unix seconds.
        each: items per category.
        event: code of the inserted events' type.
    """
    code_of = {name: code for code, name in enumerate(spec.categories, 1)}
    codes = [code_of[name] for name in chosen if name in code_of]
    room = max(spec.max_history - len(history), 0)
    if cohorts is None or not codes or not room:
        return history
    stand: dict[int, int] = {}  # row -> the category it stands for
    lists = [(code, cohorts.items(code).tolist()) for code in codes]
    for place in range(each):
        for code, rows in lists:
            for row in rows[place : place + 1]:
                stand.setdefault(row, code)
    first = list(stand.items())[:room][::-1]
    n, since = len(first), int(history.ts[0]) if len(history) else now_utc
    return History(
        np.concatenate([np.array([row for row, _ in first], np.int32), history.rows]),
        np.concatenate([np.full(n, event, np.int32), history.events]),
        np.concatenate([np.full(n, since, np.int64), history.ts]),
        tuple(code for _, code in first),
    )


def reason(spec: FeatureSpec, chosen: Sequence[int], nearest: int, own: Sequence[int]) -> str:
    """Return the reason text for an item recommended because of a chosen category.

    Args:
        spec: the release's features, with the names of categories.
        chosen: codes of the chosen categories.
        nearest: the chosen category whose items are most similar to this one.
        own: codes of the item's categories.
    """
    has = [code for code in (nearest, *chosen) if code in own]
    name = spec.categories[(has or [nearest])[0] - 1]
    return f"because you chose {name}" if has else f"near to {name}, which you chose"


def read(home: PhoneHome) -> tuple[str, ...]:
    """Return the interests that the user chose.

    Raises:
        PocketRecError: the file is damaged.
    """
    path = home.interests
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise ValueError("it is too large")
        names = json.loads(path.read_bytes())
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise ValueError("it is not a list of names")
    except FileNotFoundError:
        return ()
    except (OSError, ValueError, RecursionError) as err:
        raise PocketRecError(
            f"{path}: the chosen interests cannot be read ({err}); choose them again."
        ) from err
    return tuple(names)


def write(home: PhoneHome, names: Sequence[str]) -> None:
    """Store the user's interests atomically.

    Raises:
        PocketRecError: it cannot be written.
    """
    write_private(home.interests, canonical_json(list(names)))
