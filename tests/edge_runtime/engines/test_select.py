import pytest

from pocketrec_bundle.reader import open_bundle
from pocketrec_edge.device import Device
from pocketrec_edge.engines import select as engines
from pocketrec_edge.errors import EngineError


@pytest.mark.parametrize(
    ("installed", "least", "expected"),
    [
        ("2.14.0", "2.17.0", True),
        ("2.14.0", "2.3.0", False),
        ("2.14.0", "2.14", False),
        ("2.14", "2.14.0", False),
        ("2", "2.0.1", True),
        ("1.9.0", "1.12.0", True),
        ("1.12.0rc1", "1.13.0", False),
        ("", "2.17.0", False),
        ("2.14.0", "", False),
    ],
)
def test_versions_are_compared_as_numbers(installed, least, expected):
    assert engines.is_older(installed, least) is expected


def names_opened(monkeypatch, release, refused: tuple[str, ...]) -> list[str]:
    """Open the user tower on LiteRT, some variants refused by the runtime; what was tried."""
    bundle = open_bundle(release)
    names = {bundle.path(e.name): e.name for e in bundle.manifest.files}
    tried = []

    def open_engine(path, engine, threads=1):
        tried.append(names[path].rpartition(".")[2])
        if tried[-1] in refused:
            raise EngineError("unknown operation")

    monkeypatch.setattr(engines, "open_engine", open_engine)
    engines.open_model(bundle, "user_tower", "litert")
    return tried


def test_variant_that_does_not_load_gives_way_to_the_next(monkeypatch, quantized_release):
    assert names_opened(monkeypatch, quantized_release, ("dynamic",)) == ["dynamic", "fp16"]


def test_variant_for_a_newer_runtime_is_not_opened(monkeypatch, quantized_release):
    monkeypatch.setattr(engines, "runtime_version", lambda engine: "2.14.0")
    assert names_opened(monkeypatch, quantized_release, ()) == ["fp16"]


def test_no_variant_left_names_each_with_its_reason(monkeypatch, quantized_release):
    monkeypatch.setattr(engines, "runtime_version", lambda engine: "2.14.0")
    with pytest.raises(
        EngineError, match=r"dynamic: needs runtime 2\.\d+\.0, installed is 2\.14\.0.*fp32: unk"
    ):
        names_opened(monkeypatch, quantized_release, ("fp16", "fp32"))


def test_a_phone_with_two_runtimes_uses_the_one_that_the_release_has_models_for(
    tiny_release, tmp_path
):
    pytest.importorskip("ai_edge_litert", reason="needs both runtimes")
    pytest.importorskip("onnxruntime", reason="needs both runtimes")
    phone = Device(tmp_path)
    phone.install(tiny_release)
    assert (phone.recommend().source, phone.status().engine) == ("model", "onnx")
    phone.close()


def test_a_release_for_no_runtime_here_names_the_first(tiny_release, monkeypatch):
    monkeypatch.setattr(engines, "lacks_runtime", lambda manifest, engine: "no model")
    assert engines.choose_engine("auto", open_bundle(tiny_release).manifest) == "litert"
    with pytest.raises(EngineError, match="'coreml' is unknown"):
        engines.choose_engine("coreml", open_bundle(tiny_release).manifest)
