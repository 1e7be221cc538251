"""The text of an explanation, stage by stage, for `device explain` and `device browse`."""

from collections.abc import Iterator

from pocketrec_edge.recommend.contributions import Contribution
from pocketrec_edge.recommend.explain import FAR, HAD, WITHDRAWN, ItemExplanation

_NOT_A_CANDIDATE = {
    WITHDRAWN: "the release has withdrawn it",
    HAD: "the user had it before, and the release does not repeat",
}


def lines(item: ItemExplanation, candidates: int) -> Iterator[str]:
    """Yield the lines of one item of `Device.explain`.

    Args:
        item: the explanation of the item.
        candidates: number of candidates of the request.
    """
    place = f"{item.place:>3}" if item.place else "  -"
    yield f"{place}  {item.title} ({item.item_id})"
    for name, text in _stages(item, candidates):
        yield f"     {name:<13}{text}"


def _stages(item: ItemExplanation, candidates: int) -> Iterator[tuple[str, str]]:
    cell = f"cell {item.cell_place} by nearness, every search reads {item.cells_read}"
    brought = ", ".join(item.brought_by)
    yield "brought by", f"{brought} ({cell})" if brought else f"nothing ({cell})"
    among = item.retrieval_place
    found = f"{item.retrieval_score:.3f}"
    yield "retrieval", f"{found}, place {among} of {candidates}" if among else found
    if item.probabilities:
        yield "ranker", "  ".join(f"{head} {p:.3f}" for head, p in item.probabilities.items())
    if item.features:
        yield "features", "; ".join(f"{name} {text}" for name, text in item.features.items())
    if item.parts:
        yield "parts", "  ".join(f"{name} {value:.4g}" for name, value in item.parts.items())
    if item.formula:
        yield "formula", item.formula
    if item.score is not None:
        yield "score", f"{item.score:.3f}, place {item.score_place} of {candidates}"
    for touch in item.touched:
        yield "rule", f"{touch.rule} {touch.how} it, {touch.before} -> {touch.after}"
    if item.place:
        yield "propensity", f"{item.propensity:.3g}"
        yield "shown as", item.reason or ""
    else:
        yield "not shown", _why_not(item)
    yield from _events(item)


def _why_not(item: ItemExplanation) -> str:
    why, steps = item.why_not, item.steps
    if why in _NOT_A_CANDIDATE:
        return _NOT_A_CANDIDATE[why]
    if why == FAR:
        unread = item.cell_place > item.cells_read
        return "its cell is not read" if unread else "others have better retrieval scores"
    before = [step.place for step in steps if step.place]
    if not before:
        return "its score is not among the best, and no rule lifted it"
    return f"{why} put it out of the slate, from place {before[-1]}"


def _events(item: ItemExplanation) -> Iterator[tuple[str, str]]:
    best, near = item.because, item.nearest
    if best:
        yield "because of", f"{best.title} ({best.event}): {_given(best)}"
    elif item.contributions:
        yield "because of", "no single event: none raises its score"
    if near:
        told = f"{near.title} ({near.event}), cosine {near.cosine:.2f}"
        yield "nearest", told if near == best else f"{told}: {_given(near)}"


def _given(event: Contribution) -> str:
    if event.final is None:
        return f"{event.retrieval:+.3f} of its retrieval score"
    return f"{event.final:+.3f} of its score, {event.retrieval:+.3f} of retrieval's"
