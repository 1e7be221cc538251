import dataclasses

import numpy as np

from pocketrec_training.data.dataset import TEST, TRAIN, VALID


def test_a_list_is_what_retrieval_returns_without_what_was_seen(world, make_candidates):
    _, spec, data = world
    candidates = make_candidates(data)
    cases = data.held_out(VALID)
    lists = candidates.lists_for(cases)
    assert lists.rows.shape == (len(cases), spec.candidates)
    assert lists.real.all()
    for i, (user, end) in enumerate(cases):
        past = data.history(user, end)
        scores = candidates.table @ lists.user_vector[i]
        unseen = np.setdiff1d(np.arange(len(data.items)), past.rows)
        best = unseen[np.argsort(-scores[unseen], kind="stable")][: spec.candidates]
        assert lists.rows[i].tolist() == best.tolist()
        target = data.rows[data.offsets[user] + end]
        assert (lists.labels[i, :, 0] == (lists.rows[i] == target)).all()


def test_a_like_is_an_event_that_was_liked(world, make_candidates):
    _, _, data = world
    cases = data.held_out(TEST)
    lists = make_candidates(data).lists_for(cases)
    liked = np.array([data.events[data.offsets[u] + end] for u, end in cases])
    hit = lists.labels[..., 0].sum(1)
    assert (lists.labels[..., 1].sum(1) == hit * liked).all()
    assert 0 < lists.labels[..., 1].sum() < hit.sum()


def test_features_are_those_of_the_device(world, make_candidates):
    from pocketrec_bundle.features import used_rows
    from pocketrec_bundle.ranker_features import ItemColumns, Request, ranker_features
    from pocketrec_training.data.features.columns import (
        category_codes,
        numeric_columns,
        release_popularity,
    )

    _, spec, data = world
    candidates = make_candidates(data)
    user, end = case = data.held_out(TEST)[3]
    lists = candidates.lists_for([case])
    items = ItemColumns(
        category_codes(spec, data.items.categories),
        numeric_columns(spec, data.items, release_popularity(spec, data)),
    )
    past = data.history(user, end)
    request = Request(
        past,
        int(data.ts[data.offsets[user] + end]),
        lists.user_vector,
        candidates.table[used_rows(spec, past)],
    )
    rows = lists.rows[0]
    wanted = ranker_features(spec, items, request, rows, candidates.table[rows])
    flat = candidates.flat(lists)
    for name, value in wanted.items():
        found = flat[name][:1] if name in ("user_vector", "context") else flat[name]
        assert np.array_equal(found, value), name


def test_popularity_does_not_count_the_answer_nor_what_the_user_did_after(world, make_candidates):
    _, spec, data = world
    candidates = make_candidates(data)
    whole = data.popularity()
    user, end = case = candidates.latest_cases(TRAIN, 10**6)[-1]
    later = data.history(user).rows[end:]
    own = later[data.fold[data.offsets[user] + end : data.offsets[user + 1]] == TRAIN]
    lists = candidates.lists_for([case])
    found = lists.numeric[0, :, spec.numeric.index("popularity")]
    for row, count in zip(lists.rows[0], found, strict=True):
        assert count == whole[row] - (own == row).sum()
    assert (candidates.items.numeric[:, 0] == whole).all()  # put back


def test_a_basket_is_one_occasion_with_several_positives(world, make_candidates):
    _, _, data = world
    ts = data.ts.copy()
    last = data.offsets[1:] - 1
    ts[last] = ts[last - 1]
    fold = data.fold.copy()
    fold[last - 1] = TEST
    together = dataclasses.replace(data, ts=ts, fold=fold)
    candidates = make_candidates(together, baskets=True)
    cases = candidates.latest_cases(TEST, 1000)
    assert cases == [(u, 12) for u in range(data.n_users)]
    lists = candidates.lists_for(cases)
    for i, (user, _) in enumerate(cases):
        basket = set(together.history(user).rows[-2:].tolist())
        found = set(lists.rows[i][lists.labels[i, :, 0] > 0].tolist())
        assert found == basket & set(lists.rows[i].tolist())


def test_a_catalogue_that_cannot_fill_the_list_leaves_unreal_places(world, make_candidates):
    _, spec, data = world
    rows = data.rows.copy()
    rows[:12] = np.arange(12)
    few = dataclasses.replace(data, rows=rows)
    candidates = make_candidates(few)
    candidates.spec = dataclasses.replace(spec, candidates=35)
    lists = candidates.lists_for([(0, 12)])
    assert lists.real.sum() == 40 - 12
    assert not lists.pair[0, ~lists.real[0]].any()
