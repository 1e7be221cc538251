"""One slate from the slates of two arms, for experiments that interleave."""

from dataclasses import replace

from pocketrec_edge.experiments.slate_arms import Versus
from pocketrec_edge.recommend.pipeline import Recommender
from pocketrec_edge.recommend.query import Query
from pocketrec_edge.recommend.rules.interleaving import team_draft
from pocketrec_edge.recommend.slate import Slate


def interleaved_slate(device: Recommender, query: Query, versus: Versus, request: str) -> Slate:
    """Make both slates and merge them by team draft; costs two rankings.

    Nothing is explored or sponsored, so both arms differ by their settings alone. If the models do
    not answer for one arm, the first arm's slate is returned, without teams.

    Args:
        device: the release.
        query: the request with the first arm's settings.
        versus: the second arm.
        request: id of the request; with the experiment's salt it decides the draw.
    """
    query = replace(query, rng=None, showings=None)
    first = device.recommend(query)
    left = query.deadline_ms
    if left is not None:
        left = max(left - first.stage_ms["total"], 0.0)
    second = device.recommend(replace(query, overrides=versus.overrides, deadline_ms=left))
    if {first.source, second.source} != {"model"}:
        return first
    slates = first, second
    one, two = ([item.row for item in slate.items] for slate in slates)
    choices = team_draft(one, two, max(len(one), len(two)), versus.salt + request.encode())
    return replace(
        first,
        items=tuple(
            replace(slates[choice.team].items[choice.at], team=versus.teams[choice.team])
            for choice in choices
        ),
        stage_ms={name: ms + second.stage_ms.get(name, 0.0) for name, ms in first.stage_ms.items()},
        faults=tuple(dict.fromkeys((*first.faults, *second.faults))),
    )
