"""Held-out cases: a user's history up to a moment, and the set of items that came after it.

One case a user. What it must predict depends on the split: the last item (`leave_last`), the last
basket (`last_basket`), or all items of the held-out period (`global_time`). A history ends before
the first held-out event, so lines of one basket never stand on both sides.
"""

import hashlib
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from pocketrec_training.data.dataset import Dataset

Setting = Literal["new_to_user", "all"]
"""`new_to_user`: items of the history are neither candidates nor targets; `all`: they are both."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cases:
    """Cases of one fold and one setting.

    users, ends: int64 [n]; the history of case i is the first ends[i] events of user users[i].
    offsets: int64 [n + 1]; targets: int32, the item rows of case i are
    targets[offsets[i]:offsets[i + 1]], at least one, sorted, each once.
    """

    setting: Setting
    users: NDArray[np.int64]
    ends: NDArray[np.int64]
    offsets: NDArray[np.int64]
    targets: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.users)

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """(user, end) of each case, the form that `user_vectors` takes."""
        return list(zip(self.users.tolist(), self.ends.tolist(), strict=True))

    def targets_of(self, case: int) -> NDArray[np.int32]:
        """Return the item rows that case `case` is scored on."""
        return self.targets[self.offsets[case] : self.offsets[case + 1]]

    def take(self, chosen: NDArray[np.int64]) -> "Cases":
        """Return the cases at these places, in the order given."""
        targets = [self.targets_of(int(i)) for i in chosen]
        return _cases(
            self.setting, self.users[chosen].tolist(), self.ends[chosen].tolist(), targets
        )

    def digest(self, data: Dataset) -> str:
        """SHA-256 over users, ends and target item ids: equal digests, equal cases."""
        found = hashlib.sha256(self.setting.encode())
        for i, (user, end) in enumerate(self.pairs):
            ids = "\x1f".join(data.items.ids[row] for row in self.targets_of(i))
            found.update(f"\x1e{data.user_ids[user]}\x1f{end}\x1f{ids}".encode())
        return found.hexdigest()


def held_out_cases(data: Dataset, fold: int, setting: Setting, *, newcomers: bool = False) -> Cases:
    """Collect the cases of a fold.

    Args:
        data: sequences with their folds.
        fold: VALID or TEST.
        setting: see `Setting`; users whose held-out items are all known to them drop out of
            `new_to_user`.
        newcomers: keep users without any history as well; with `global_time` there are some.
    """
    users, ends, targets = [], [], []
    for user in range(data.n_users):
        start, stop = int(data.offsets[user]), int(data.offsets[user + 1])
        held = np.flatnonzero(data.fold[start:stop] == fold)
        if not len(held) or (held[0] == 0 and not newcomers):
            continue
        wanted = np.unique(data.rows[start:stop][held])
        if setting == "new_to_user":
            wanted = np.setdiff1d(wanted, data.rows[start : start + held[0]])
        if len(wanted):
            users.append(user)
            ends.append(int(held[0]))
            targets.append(wanted.astype(np.int32))
    return _cases(setting, users, ends, targets)


def evaluation_settings(data: Dataset, fold: int) -> list[Cases]:
    """Return the fold's cases in `new_to_user` and, where people take things again, in `all`.

    Settings without a case are left out. The first one is what training validates by.
    """
    new, every = (held_out_cases(data, fold, setting) for setting in get_args(Setting))
    repeats = len(every.targets) > len(new.targets)
    return [cases for cases in ([new, every] if repeats else [new]) if len(cases)]


def some(cases: Cases, n: int, seed: int) -> Cases:
    """Draw at most `n` of the cases, in their old order."""
    if len(cases) <= n:
        return cases
    return cases.take(np.sort(np.random.default_rng(seed).choice(len(cases), n, replace=False)))


def _cases(
    setting: Setting, users: list[int], ends: list[int], targets: list[NDArray[np.int32]]
) -> Cases:
    return Cases(
        setting=setting,
        users=np.array(users, np.int64),
        ends=np.array(ends, np.int64),
        offsets=np.concatenate([[0], np.cumsum([len(t) for t in targets])]).astype(np.int64),
        targets=np.concatenate([np.zeros(0, np.int32), *targets]),
    )
