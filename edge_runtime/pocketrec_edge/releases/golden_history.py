"""Convert the history of a golden case to rows of a release."""

import numpy as np

from pocketrec_bundle.features import History
from pocketrec_bundle.golden.edges import EdgeHistory, EdgeSearch
from pocketrec_bundle.golden.vectors import GoldenCase
from pocketrec_bundle.reader import Bundle


def golden_history(bundle: Bundle, case: GoldenCase | EdgeHistory | EdgeSearch) -> History:
    """Return a case's history as rows; skip ids that the release lacks."""
    known = [
        (row, event, ts)
        for item_id, event, ts in zip(case.item_ids, case.events, case.ts, strict=True)
        if (row := bundle.row_of(item_id)) >= 0
    ]
    if not known:
        return History.empty()
    rows, events, ts = (np.array(column) for column in zip(*known, strict=True))
    return History(rows.astype(np.int32), events.astype(np.int32), ts.astype(np.int64))
