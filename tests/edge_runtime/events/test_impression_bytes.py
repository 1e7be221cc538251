"""An impression takes no more bytes than before requests had rows of their own."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.support.impression_bytes import events_before, events_now, measure
from pocketrec_edge.answers import Answer, SlateItem
from pocketrec_edge.events.slate_events import new_request

SLATES = 100
SESSION = "0b0f0f7c-8c0f-4c0e-8c0a-0a0b0c0d0e0f"


def slates(k, *, paged):
    """Slates of k items, as a phone with a ranker gets them; half of them explore."""
    rng = np.random.default_rng(k)
    for n in range(SLATES):
        items = tuple(
            SlateItem(
                row=int(row),
                item_id=f"item-{row}",
                title="",
                score=float(np.float32(rng.random())),
                retrieval_score=0.0,
                reason="",
                propensity=0.9 if n % 2 and place >= 3 else 1.0,
            )
            for place, row in enumerate(rng.choice(10_000, k, replace=False))
        )
        answer = Answer(
            items=items,
            source="model",
            faults=(),
            release="shop",
            stage_ms={"total": float(rng.random() * 30)},
            request=new_request(),
        )
        if paged:
            answer = replace(answer, session=SESSION, page=1 + n % 5)
        yield answer


@pytest.mark.parametrize("paged", [False, True])
@pytest.mark.parametrize("k", [10, 20])
def test_an_impression_takes_no_more_bytes_than_before(tmp_path, k, paged):
    made = list(slates(k, paged=paged))
    before = measure(made, events_before, tmp_path / "before.sqlite")
    now = measure(made, events_now, tmp_path / "now.sqlite")
    assert now.log <= before.log
    assert now.body <= before.body
    assert now.gzip <= before.gzip
