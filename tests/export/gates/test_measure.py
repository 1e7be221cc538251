"""Histories, figures of files and quality of pairs, on the small run."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="needs the train extra")

from pocketrec_bundle.reader import open_bundle
from pocketrec_edge.engines.select import open_engine
from pocketrec_edge.errors import EngineError
from pocketrec_export.gates import inputs as probe
from pocketrec_export.gates import measure
from pocketrec_export.gates.losses import Estimate
from pocketrec_export.gates.measure import FileFigures, MeasuredModel, Truth
from pocketrec_export.gates.quality import PairQuality
from pocketrec_export.golden import answers as golden
from pocketrec_export.models.convert import convert, ranker_signature, tower_signature
from pocketrec_training.data.dataset import TRAIN, load_dataset
from pocketrec_training.trained import load_trained


@pytest.fixture(scope="module")
def trained(run_dir):
    return load_trained(run_dir)


@pytest.fixture(scope="module")
def data(trained, run_dir):
    return load_dataset(trained.recipe, run_dir)


def test_calibration_sees_training_events_only_cut_anywhere(data):
    found = probe.training_histories(data, 1000, seed=5)
    assert len(found) == data.n_users
    lengths = set()
    known = {(int(data.ts[i]), int(data.rows[i])) for i in np.flatnonzero(data.fold == TRAIN)}
    for history, now in found:
        lengths.add(len(history))
        assert set(zip(history.ts.tolist(), history.rows.tolist(), strict=True)) <= known
        assert now > history.ts.max(initial=0)
    assert len(lengths) > 3
    again = probe.training_histories(data, 1000, seed=5)
    assert [len(h) for h, _ in again] == [len(h) for h, _ in found]


def test_golden_histories_begin_with_the_edges(data):
    found = probe.golden_histories(data, 6, seed=5)
    assert [len(history) for _, history in found][:2] == [0, 1]
    assert len(found) == 6
    assert len(found[2][1]) == np.diff(data.offsets).max()


def test_probe_ranks_what_the_exact_vector_retrieves(trained, data):
    moments = probe.whole_histories(data, 2, seed=5)
    found = probe.probe(trained, data, moments)
    assert len(found.of("user_tower")) == len(found.of("ranker")) == 2
    inputs = found.of("ranker")[0]
    scores = trained.item_vectors @ inputs["user_vector"][0]
    best = trained.item_vectors[np.argsort(-scores)[: trained.spec.candidates]]
    assert np.allclose(inputs["item_vectors"], best)


@pytest.fixture(scope="module")
def tower(trained, data, tmp_path_factory):
    """The tower's truth, and its LiteRT fp32 file with the path it lies at."""
    moments = probe.whole_histories(data, 3, seed=5)
    inputs = probe.probe(trained, data, moments).of("user_tower")
    signature = tower_signature(trained.spec)
    truth = Truth("user_tower", trained.user_tower, signature, inputs)
    made = convert(trained.user_tower, signature, ("fp32",))[0]
    path = tmp_path_factory.mktemp("file") / "tower"
    path.write_bytes(made.data)
    return truth, made, path


def scores(_inputs, answer):
    return answer[0]


def test_figures_of_a_file_that_is_right(tower):
    truth, made, path = tower
    found = measure.measure(made, path, truth, scores)
    assert isinstance(found, MeasuredModel)
    assert found.engine is not None
    assert found.figures.note == ""
    assert found.figures.max_error < 1e-5
    assert found.figures.hard_error < 1e-3
    assert found.figures.cosine > 0.99999
    assert found.figures.hard_cosine > 0.99999
    assert found.figures.ms > 0


class Wrong:
    """An engine with a fault."""

    def __init__(self, engine, fault):
        self.engine, self.fault = engine, fault

    def run(self, inputs):
        return self.fault(self.engine.run(inputs), inputs)


def test_figures_tell_how_wrong_a_file_is(tower, monkeypatch):
    truth, made, path = tower
    real = open_engine(path, "litert")
    off = Wrong(real, lambda answer, _: answer + np.float32(0.5))
    monkeypatch.setattr(measure, "open_engine", lambda *_: off)
    figures = measure.measure(made, path, truth, scores).figures
    assert figures.max_error == pytest.approx(0.5, abs=1e-4)
    assert figures.mean_error == pytest.approx(0.5, abs=1e-4)
    assert figures.hard_error == pytest.approx(0.5, abs=1e-3)
    assert figures.cosine < 0.999


def test_a_file_that_is_not_finite_or_does_not_run_gets_a_note(tower, monkeypatch):
    truth, made, path = tower
    real = open_engine(path, "litert")

    def broken(answer, inputs):
        return answer * (np.nan if not inputs["history_length"].any() else 1)

    monkeypatch.setattr(measure, "open_engine", lambda *_: Wrong(real, broken))
    found = measure.measure(made, path, truth, scores)
    assert (found.figures.note, found.engine) == ("not finite on: empty history", None)

    def refuse(*_):
        raise EngineError("no such operator")

    monkeypatch.setattr(measure, "open_engine", refuse)
    assert measure.measure(made, path, truth, scores).figures.note == "no such operator"


def test_quality_counts_losses_from_exact_models_and_item_vectors(
    bundle_dir, trained, data, tmp_path
):
    draft = open_bundle(bundle_dir)
    histories = probe.golden_histories(data, 4, seed=5)
    blank = golden.blank_cases(histories, trained.items.ids, int(data.ts.max()))
    tower, ranker = (
        loaded(tmp_path, model, layers, signature(trained.spec))
        for model, layers, signature in (
            ("user_tower", trained.user_tower, tower_signature),
            ("ranker", trained.ranker, ranker_signature),
        )
    )
    rounded = PairQuality(draft, [tower, ranker], trained, data, blank)
    near = rounded.losses(tower.figures, ranker.figures)
    assert rounded.slate_overlap(tower.figures, ranker.figures) == 1.0
    assert near is not None
    assert near.ndcg == Estimate(value=0.0, low=0.0, high=0.0)
    assert 0 < abs(near.auc.value) < 0.01  # int8 items, and nothing else
    assert near.auc.low <= near.auc.value <= near.auc.high
    assert rounded.index_losses() == near
    device = rounded._device("litert", "fp32", "fp32")
    exact = rounded._exact.candidates
    vectors = trained.item_vectors[[int(i[1:]) for i in draft.item_ids()]]
    device.index = replace(device.index, rows=vectors, scales=np.ones(40, np.float32))
    assert np.array_equal(rounded._of(device).candidates.scores, exact.scores)
    bad = MeasuredModel(
        made=replace(tower.made, variant="bad"),
        figures=replace(tower.figures, variant="bad"),
        engine=Wrong(tower.engine, lambda answer, _: -answer),
        inputs={},
    )
    quality = PairQuality(draft, [tower, ranker, bad], trained, data, blank)
    assert quality.slate_overlap(bad.figures, ranker.figures) < 0.7
    found = quality.losses(bad.figures, ranker.figures)
    assert found is not None
    assert found.ndcg.value != 0.0
    assert found.auc.value != 0.0


def test_cells_that_a_search_skips_count_as_the_item_indexs_loss(
    bundle_dir, trained, data, tmp_path, monkeypatch
):
    files = [
        loaded(tmp_path, model, layers, signature(trained.spec))
        for model, layers, signature in (
            ("user_tower", trained.user_tower, tower_signature),
            ("ranker", trained.ranker, ranker_signature),
        )
    ]
    draft = open_bundle(bundle_dir)
    every = PairQuality(draft, files, trained, data, [])
    assert not every.skips_cells
    monkeypatch.setattr(draft, "policy", replace(draft.policy, probes=1))
    one = PairQuality(draft, files, trained, data, [])
    assert one.skips_cells
    assert np.array_equal(one._exact.candidates.scores, every._exact.candidates.scores)
    assert one.index_losses() == one.losses(*(file.figures for file in files))
    monkeypatch.setattr(draft, "policy", replace(draft.policy, probes=0))
    assert every.index_losses() != one.index_losses()


class Sleeper:
    """An engine that takes so long, and every so many runs is interrupted."""

    def __init__(self, clock, took, interrupted):
        self.clock, self.took, self.interrupted, self.runs = clock, took, interrupted, 0

    def run(self, inputs):
        self.runs += 1
        self.clock.now += self.took + (self.runs % 3 == 0) * self.interrupted


class Clock:
    now = 0.0

    def perf_counter(self):
        return self.now


def test_interruptions_do_not_change_the_latency_ratio(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(measure, "time", clock)
    ratio = measure.latency(Sleeper(clock, 2.0, 50.0), Sleeper(clock, 1.0, 9.0), {})
    assert [ratio.value, ratio.low, ratio.high] == pytest.approx([2.0, 2.0, 2.0])


def loaded(folder, model, layers, signature) -> MeasuredModel:
    """The model's LiteRT fp32 file, without figures."""
    made = convert(layers, signature, ("fp32",))[0]
    path = folder / model
    path.write_bytes(made.data)
    figures = FileFigures(
        model=model,
        engine=made.engine,
        variant=made.variant,
        bytes=len(made.data),
        min_runtime=made.min_runtime,
    )
    return MeasuredModel(
        made=made, figures=figures, engine=open_engine(path, made.engine), inputs={}
    )
