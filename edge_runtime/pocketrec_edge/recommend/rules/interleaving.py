"""Team-draft interleaving: one slate from two rankings, each item with the team that chose it.

Source: Radlinski, Kurup, Joachims (2008), How Does Clickthrough Data Reflect Retrieval Quality?,
CIKM, algorithm 2. In each round a coin decides which team chooses first; a team chooses its best
item that is not in the slate. Two equal rankings earn alike, whatever users do.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256


@dataclass(frozen=True, slots=True)
class Choice:
    """One place of an interleaved slate.

    team: 0 or 1; at: the item's position in the team's ranking, from 0.
    """

    team: int
    at: int


def team_draft(first: Sequence[int], second: Sequence[int], k: int, seed: bytes) -> list[Choice]:
    """Merge two rankings.

    Args:
        first: items of team 0, best first, each once.
        second: items of team 1.
        k: most places; fewer if both rankings end.
        seed: of the coins: coin i is the lowest bit of the first byte of SHA-256(seed || i as 4
            bytes, big endian), 1: team 1 chooses first. So a log that has the seed has the draw.

    Example:
        >>> team_draft([7, 5, 3], [5, 9, 7], 3, b"request")
        [Choice(team=1, at=0), Choice(team=0, at=0), Choice(team=1, at=1)]
    """
    rankings, at = (first, second), [0, 0]
    taken: set[int] = set()
    slate: list[Choice] = []
    for number in range(k):  # a round shows one item at least, or both rankings have ended
        begins = sha256(seed + number.to_bytes(4, "big")).digest()[0] & 1
        before = len(slate)
        for team in (begins, 1 - begins):
            ranking = rankings[team]
            while at[team] < len(ranking) and ranking[at[team]] in taken:
                at[team] += 1
            if at[team] < len(ranking) and len(slate) < k:
                taken.add(ranking[at[team]])
                slate.append(Choice(team, at[team]))
        if len(slate) in (before, k):
            break
    return slate
