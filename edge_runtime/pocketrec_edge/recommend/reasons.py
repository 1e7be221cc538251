"""Why an item is shown, in words for the user."""

import numpy as np
from numpy.typing import NDArray

from pocketrec_bundle.features import FeatureSpec, used_rows
from pocketrec_bundle.floats import Floats32
from pocketrec_bundle.products import inner_pairs
from pocketrec_bundle.ranker_features import ItemColumns
from pocketrec_edge.events.interests import reason
from pocketrec_edge.recommend.index import Index
from pocketrec_edge.recommend.query import Query
from pocketrec_edge.recommend.surfaces import SIMILAR
from pocketrec_edge.recommend.texts import Texts

POPULAR_REASON = "popular now"
AGAIN_REASON = "you had it before"
LIKE_REASON, WITH_REASON = "like {}", "goes with {}"


class Reasons:
    """The reasons of one release's items."""

    def __init__(self, spec: FeatureSpec, index: Index, items: ItemColumns, texts: Texts) -> None:
        self._spec, self._index, self._items, self._texts = spec, index, items, texts

    def of(self, query: Query, shown: NDArray[np.int32], vectors: Floats32) -> list[str]:
        """Return one reason an item: the item at hand, a chosen category, or the nearest event.

        Args:
            query: of the request.
            shown: int32 [k], rows of the slate.
            vectors: float32 [k, d], theirs.
        """
        surface, history = query.surface, query.history
        past = used_rows(self._spec, history)
        if surface.item is not None:
            said = LIKE_REASON if surface.kind == SIMILAR else WITH_REASON
            return [said.format(self._texts.titles(surface.rows)[0])] * len(shown)
        if not len(past):
            return [POPULAR_REASON] * len(shown)
        nearest = np.argmax(inner_pairs(vectors, self._index.vectors(past)), axis=1)  # [slate]
        again = np.isin(shown, history.interactions().rows).tolist()
        reasons = [
            AGAIN_REASON if had else f"because of {title}"
            for had, title in zip(again, self._texts.titles(past[nearest]), strict=True)
        ]
        chosen = history.interests[len(history) - len(past) :]
        for at in np.flatnonzero(nearest < len(chosen)).tolist():
            if not again[at]:
                own, event = self._items.categories[shown[at]].tolist(), int(nearest[at])
                reasons[at] = reason(self._spec, chosen, chosen[event], own)
        return reasons
