"""Build a slate without models: lists of the user's categories, then popular items."""

import numpy as np
from numpy.typing import NDArray

from pocketrec_bundle.candidates import merged
from pocketrec_bundle.neighbours import Neighbours
from pocketrec_bundle.reader import Bundle
from pocketrec_edge.answers import SlateItem
from pocketrec_edge.recommend.fallback import Lists
from pocketrec_edge.recommend.filters import FilterMask
from pocketrec_edge.recommend.index import Index
from pocketrec_edge.recommend.query import Query
from pocketrec_edge.recommend.reasons import POPULAR_REASON
from pocketrec_edge.recommend.surfaces import SEARCH
from pocketrec_edge.recommend.texts import Texts


class FallbackSlates:
    """The lists of one release, as slates."""

    def __init__(
        self, bundle: Bundle, index: Index, neighbours: Neighbours | None, texts: Texts
    ) -> None:
        self._categories, self._index, self._neighbours = bundle.spec.categories, index, neighbours
        self._lists, self._texts = Lists(bundle), texts

    def answer(
        self,
        query: Query,
        excluded: NDArray[np.bool_],
        mask: FilterMask,
        *,
        nprobe: int,
        limit: int,
        k: int,
    ) -> tuple[tuple[SlateItem, ...], NDArray[np.int32]]:
        """Return the items of a slate, and the rows it was taken from, best first.

        Items that the mask or earlier pages exclude never come; items of the history come if
        nothing else is left. Beside an item, those that go with it come first; search results keep
        their order, and all of them are returned.

        Args:
            query: what is asked.
            excluded: bool [N], rows that must not be shown.
            mask: of the query's filters.
            nprobe: cells to read at least for a surface.
            limit: most candidates of a surface.
            k: items wanted.
        """
        surface, history, beyond = query.surface, query.history, mask.by_filters
        rows = surface.candidates(self._index, self._neighbours, limit, nprobe, excluded)
        listed: dict[int, int] = {}
        if not surface.is_closed:
            listed = self._lists.rows(history, excluded, k, beyond=beyond)
            if not listed and not len(rows):
                excluded = mask.rows.copy()
                excluded[query.shown] = True
                listed = self._lists.rows(history, excluded, k, beyond=beyond)
            rows = merged(rows, np.array(list(listed), np.int32), max(k, len(rows)))
        k = len(rows) if surface.kind == SEARCH else k
        texts = zip(rows[:k].tolist(), self._texts.of(rows[:k]), strict=True)
        items = tuple(
            SlateItem(
                row=row,
                item_id=item_id,
                title=title,
                score=1.0 / rank,
                retrieval_score=0.0,
                reason=self._popular_in(listed.get(row, 0)),
            )
            for rank, (row, (item_id, title)) in enumerate(texts, 1)
        )
        return items, rows

    def _popular_in(self, code: int) -> str:
        return f"popular in {self._categories[code - 1]}" if code else POPULAR_REASON
