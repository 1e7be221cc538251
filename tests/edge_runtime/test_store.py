import pytest

from bundle.features import History
from bundle.reader import open_bundle
from edge_runtime import engines
from edge_runtime.errors import EngineError, StoreError
from edge_runtime.pipeline import Recommender
from edge_runtime.selftest import replay
from edge_runtime.store import Store

MODELS = ("ranker", "user_tower")


def only(monkeypatch, engine: str, version: str = "") -> None:
    """Be a phone with one runtime."""
    modules = {"litert": "ai_edge_litert", "onnx": "onnxruntime"}
    monkeypatch.setattr(engines, "runtime", lambda e: modules[e] if e == engine else "")
    monkeypatch.setattr(engines, "runtime_version", lambda _engine: version)


def here(store: Store) -> list[str]:
    """Names of the active release's model files that are in the store."""
    bundle, fault = store.open_active()
    assert fault is None
    models = [entry.name for entry in bundle.manifest.files if entry.kind == "model"]
    return [name for name in models if bundle.has(name)]


@pytest.mark.parametrize(
    ("engine", "version", "variant"),
    [("litert", "", "dynamic"), ("onnx", "", "dynamic"), ("litert", "2.14.0", "fp16")],
)
def test_a_phone_stores_the_models_that_its_runtime_runs_and_no_others(
    monkeypatch, quantized_release, tmp_path, engine, version, variant
):
    only(monkeypatch, engine, version)
    store = Store(tmp_path)
    sha = store.install_bundle(quantized_release, lambda bundle: replay(bundle, engine))
    assert here(store) == [f"models/{model}.{engine}.{variant}" for model in MODELS]
    assert store.lacks(sha) == []
    others = {e.name for e in open_bundle(quantized_release).manifest.files if e.kind != "model"}
    bundle, _ = store.open_active()
    assert all(bundle.has(name) for name in others)


def test_after_a_change_of_runtime_the_missing_files_are_known_and_answers_go_on(
    monkeypatch, quantized_release, tmp_path
):
    only(monkeypatch, "litert")
    store = Store(tmp_path)
    sha = store.install_bundle(quantized_release, replay)
    only(monkeypatch, "onnx")
    assert store.lacks(sha) == [f"models/{model}.onnx.dynamic" for model in MODELS]
    bundle, fault = store.open_active()
    assert fault is None
    slate = Recommender(bundle).recommend(History.empty(), 1_600_000_000)
    assert slate.source == "fallback"
    assert "not on this device" in slate.fault
    store.install_bundle(quantized_release, replay)
    assert store.lacks(sha) == []
    assert store.active() == (sha, None)


def test_spare_files_come_if_the_needed_ones_fail_the_self_test(
    monkeypatch, quantized_release, tmp_path
):
    only(monkeypatch, "litert")
    real, dynamic = engines.open_engine, open_bundle(quantized_release).manifest
    refused = {dynamic.entry(f"models/{model}.litert.dynamic").sha256 for model in MODELS}

    def refuse(path, engine, threads=1):
        if path.name in refused:
            raise EngineError("refused on purpose")
        return real(path, engine, threads)

    monkeypatch.setattr(engines, "open_engine", refuse)
    store = Store(tmp_path)
    store.install_bundle(quantized_release, replay)
    assert here(store) == [
        f"models/{model}.litert.{variant}"
        for model in MODELS
        for variant in ("dynamic", "fp16", "fp32")
    ]
    bundle, _ = store.open_active()
    slate = Recommender(bundle).recommend(History.empty(), 1_600_000_000)
    assert (slate.source, slate.fault) == ("model", None)


def test_a_release_that_fails_with_every_file_is_not_activated(
    monkeypatch, quantized_release, tmp_path
):
    only(monkeypatch, "litert")
    asked = []

    def fail(bundle):
        asked.append(len([e for e in bundle.manifest.files if bundle.has(e.name)]))
        raise EngineError("never right")

    store = Store(tmp_path)
    with pytest.raises(EngineError, match="never right"):
        store.install_bundle(quantized_release, fail)
    assert asked[1] - asked[0] == 4  # two more variants of two models
    assert store.active() == (None, None)


def test_a_release_that_just_fits_its_limit_is_installed_and_a_byte_less_refuses_it(
    small_release, tmp_path
):
    needed = engines.needed_files(open_bundle(small_release).manifest)
    n_bytes = sum({entry.sha256: entry.bytes for entry in needed}.values())
    with pytest.raises(StoreError, match=f"{n_bytes:,} bytes, and may take {n_bytes - 1:,}"):
        Store(tmp_path / "less", limit_bytes=n_bytes - 1).install_bundle(
            small_release, lambda bundle: None
        )
    assert Store(tmp_path / "less").active() == (None, None)
    store = Store(tmp_path / "fits", limit_bytes=n_bytes)
    sha = store.install_bundle(small_release, lambda bundle: None)
    assert store.install_bundle(small_release, lambda bundle: None) == sha  # nothing comes twice
