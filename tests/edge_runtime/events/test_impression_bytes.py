"""An impression takes no more bytes than before requests had rows of their own."""

import pytest

from benchmarks.support.impression_bytes import (
    CASES,
    compare_forms,
    drawn_slates,
    events_before,
    events_now,
)


def test_an_impression_takes_no_more_bytes_than_before(tmp_path):
    found = compare_forms(tmp_path, seed=7)
    assert [each.name for each in found] == list(CASES)
    for each in found:
        assert each.now.log <= each.before.log, each.name
        assert each.now.body <= each.before.body, each.name
        assert each.now.gzip <= each.before.gzip, each.name


@pytest.mark.parametrize("k", [1, 10])
def test_both_forms_have_the_same_impressions(k):
    """The old form repeats in each row what the new one has in the row of the request."""
    (answer, *_) = drawn_slates(k, is_paged=True)
    before, (request, *now) = events_before(answer, 5), events_now(answer, 5)
    assert len(before) == len(now) == k
    for place, (old, new) in enumerate(zip(before, now, strict=True), 1):
        assert (old.item_id, old.ts) == (new.item_id, new.ts)
        assert new.id == f"{request.id}.{place}"
        shared = {"source": request.context["source"], "page": request.context["page"]}
        shared["session"] = request.context["paging"]
        assert old.context == shared | new.context | {"score": old.context["score"]}
        assert new.context["score"] == pytest.approx(old.context["score"], rel=1e-6)
