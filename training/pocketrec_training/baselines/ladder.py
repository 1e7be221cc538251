"""Search parameters one at a time: climb each one's ladder of values as long as it helps."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

Parameters = Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ladder:
    """Values of one parameter, in order.

    Attributes:
        rungs: all values; only those near the best are tried.
        start: the first value tried.
        also: values tried before the climb, where the gain may have several peaks.
        open_low, open_high: whether values beyond that end would make sense. An end is closed
            where the method has no further value, e.g. a share of 0 or 1, or the whole history.
    """

    rungs: tuple[float, ...]
    start: float
    also: tuple[float, ...] = ()
    open_low: bool = False
    open_high: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchResult:
    """Result of a search.

    Attributes:
        best: the parameters with the largest gain; the first of equals.
        tried: every parameter set with its gain, in the order tried.
        at_edge: parameters whose best value has a neighbour that was not tried: it is the last
            rung of an open end, or the budget was spent.
    """

    best: Parameters
    tried: tuple[tuple[Parameters, float], ...]
    at_edge: tuple[str, ...]


def climb(
    ladders: Mapping[str, Ladder],
    gain: Callable[[Parameters], float],
    budget: int,
    known: Sequence[Parameters] = (),
) -> SearchResult:
    """Coordinate ascent: move one parameter rung by rung while the gain rises, then the next.

    Ends when no single step of any parameter helps, or after `budget` parameter sets.

    Args:
        ladders: by parameter.
        gain: larger is better; called once for each parameter set.
        budget: calls of `gain`, those for `known` not counted.
        known: sets whose gain costs nothing; the climb starts from the best of them.
    """
    names = list(ladders)
    tried: dict[tuple[int, ...], float] = {}

    def told(at: tuple[int, ...]) -> Parameters:
        return {name: ladders[name].rungs[i] for name, i in zip(names, at, strict=True)}

    def better(at: tuple[int, ...], best: tuple[int, ...]) -> bool:
        if at not in tried and len(tried) < budget:
            tried[at] = gain(told(at))
        return tried.get(at, -math.inf) > tried.get(best, -math.inf)

    def place_of(parameters: Parameters) -> tuple[int, ...]:
        return tuple(ladders[name].rungs.index(parameters[name]) for name in names)

    budget += len(known)
    start = {name: ladder.start for name, ladder in ladders.items()}
    best = place_of(known[0] if known else start)
    for parameters in known or [start]:
        at = place_of(parameters)
        best = at if better(at, best) else best
    for place, name in enumerate(names):
        for value in () if known else ladders[name].also:
            at = (*best[:place], ladders[name].rungs.index(value), *best[place + 1 :])
            best = at if better(at, best) else best
    before = None
    while best != before:
        before = best
        for place, name in enumerate(names):
            for step in (1, -1):
                while (nxt := _step(best, place, step, ladders[name])) and better(nxt, best):
                    best = nxt
    edges = [
        name
        for place, name in enumerate(names)
        if any(_is_edge(best, place, step, ladders[name], tried) for step in (1, -1))
    ]
    return SearchResult(
        best=told(best),
        tried=tuple((told(at), value) for at, value in tried.items()),
        at_edge=tuple(edges),
    )


def _step(at: tuple[int, ...], place: int, step: int, ladder: Ladder) -> tuple[int, ...] | None:
    """Return the neighbouring rung, None beyond either end."""
    i = at[place] + step
    return (*at[:place], i, *at[place + 1 :]) if 0 <= i < len(ladder.rungs) else None


def _is_edge(
    best: tuple[int, ...],
    place: int,
    step: int,
    ladder: Ladder,
    tried: Mapping[tuple[int, ...], float],
) -> bool:
    at = _step(best, place, step, ladder)
    if at is None:
        return ladder.open_high if step > 0 else ladder.open_low
    return at not in tried
