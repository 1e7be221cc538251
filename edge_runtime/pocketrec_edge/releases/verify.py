"""Verify a bundle on this machine's runtimes: every model file, golden slates, hard inputs.

The self-test (`selftest.py`) checks only the default variants before a release becomes active. This
module checks every model file, and reports figures.
"""

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pocketrec_bundle.golden.vectors import Golden, GoldenCase
from pocketrec_bundle.manifest import FileEntry
from pocketrec_bundle.ranker_features import padded
from pocketrec_bundle.reader import Bundle
from pocketrec_bundle.settings.model_sets import set_files, set_names, set_of
from pocketrec_edge.engines.select import (
    ENGINES,
    KINDS,
    MODELS,
    Engine,
    is_older,
    open_engine,
    runtime,
    runtime_version,
    set_rankers,
)
from pocketrec_edge.errors import EngineError, SelfTestFailedError
from pocketrec_edge.recommend.index import search
from pocketrec_edge.recommend.pipeline import Recommender
from pocketrec_edge.recommend.query import Query
from pocketrec_edge.releases.golden_history import golden_history
from pocketrec_edge.releases.parity import Inputs, compare_outputs, hard_inputs, median_ms, ranked
from pocketrec_edge.releases.selftest import replay
from pocketrec_edge.releases.set_test import check_ranker
from pocketrec_edge.releases.stages import StageCheck, check_cases, check_stages, read_stages

RANKER = "ranker"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileCheck:
    """One model file on one runtime, with the inputs of the golden requests.

    The reference is the fp32 file on the first installed runtime.

    Attributes:
        model: "user_tower" or "ranker".
        engine: "litert" or "onnx".
        runtime: module and version of the runtime.
        variant: name of the variant, such as "int8".
        default: whether devices load this file first.
        bytes: size of the file.
        status: "ok", "passed over" (the file needs a newer runtime) or "failed".
        note: the reason of a status other than "ok".
        to_keras: maximum error against Keras, measured at export.
        max_error: maximum absolute error against the reference.
        mean_error: mean absolute error against the reference.
        cosine: minimum cosine of an output with its reference; 1 is best.
        overlap: share of the reference's first 100 items (user tower) or 10 (ranker) that are also
            chosen; 1 is best.
        rank_correlation: Spearman's, of the scores of all items or candidates, mean over the
            requests; 1 is best.
        ms: median latency of one run on one thread, in milliseconds.
        set: name of the model set; "": the release's own model.
    """

    model: str
    engine: str
    runtime: str
    variant: str
    default: bool
    bytes: int
    status: str
    note: str = ""
    to_keras: float = 0.0
    max_error: float = 0.0
    mean_error: float = 0.0
    cosine: float = 0.0
    overlap: float = 0.0
    rank_correlation: float = 0.0
    ms: float = 0.0
    set: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SlateCheck:
    """The golden requests on one engine, with the variants that it loads by itself.

    Attributes:
        engine: "litert" or "onnx".
        runtime: module and version of the runtime.
        cases: number of golden requests.
        passed: whether all of them passed.
        note: the failure, "" if they passed.
        stages: checks in the order of the path; empty for a release without stage vectors.
    """

    engine: str
    runtime: str
    cases: int
    passed: bool
    note: str = ""
    stages: tuple[StageCheck, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """All checks of a release.

    Attributes:
        name: of the release.
        passed: no default file failed, and golden vectors pass on every runtime.
        files: a check per model file and runtime.
        slates: a check per engine.
    """

    name: str
    passed: bool
    files: list[FileCheck]
    slates: list[SlateCheck]


def verify(bundle: Bundle) -> Verification:
    """Run every model file of a release on every installed runtime.

    Raises:
        EngineError: no runtime is installed, or none runs the release's reference file.
        BundleInvalidError: the golden vectors are malformed.
    """
    here = [engine for engine in ENGINES if runtime(engine)]
    if not here:
        raise EngineError("no runtime is installed; pip install 'pocketrec[edge]' brings LiteRT")
    # An engine that the release has no model for is not one of its targets.
    engines = [engine for engine in here if bundle.manifest.models("user_tower", engine)] or here
    golden = Golden.of(bundle)
    device = Recommender(bundle, engines[0])
    requests = list(_requests(device, bundle, golden.cases))
    files: list[FileCheck] = []
    for model in MODELS:
        inputs = [request[model] for request in requests]
        entries = [
            entry
            for kind in KINDS
            if runtime(kind)
            for entry in bundle.manifest.models(model, kind)
        ]
        truth = _truth(bundle, entries, inputs)
        files += [_check_file(bundle, device, entry, inputs, truth) for entry in entries]
    for name in set_names(bundle.manifest):
        inputs = [request[RANKER] for request in requests]
        entries = [
            e for kind in KINDS if runtime(kind) for e in set_files(bundle.manifest, name, kind)
        ]
        truth = _truth(bundle, entries, inputs)
        files += [_check_file(bundle, device, entry, inputs, truth) for entry in entries]
    slates = [_check_slates(bundle, engine, golden) for engine in engines]
    passed = all(s.passed for s in slates)
    passed &= not any(f.default and f.status == "failed" for f in files)
    return Verification(name=bundle.manifest.name, passed=passed, files=files, slates=slates)


def _requests(
    device: Recommender, bundle: Bundle, cases: tuple[GoldenCase, ...]
) -> Iterator[dict[str, Inputs]]:
    """Both models' inputs for each golden request, by the pipeline's own steps."""
    for case in cases:
        query = Query(golden_history(bundle, case), case.now_utc)
        excluded = device.excluded(query)
        user = np.array(case.user_vector, np.float32)
        rows, vectors, _ = device.candidates(query, user, excluded)
        features = device.ranker_inputs(query, user, rows, vectors)
        yield {
            "user_tower": device.tower_inputs(query),
            "ranker": padded(bundle.spec, features),
        }


def _truth(bundle: Bundle, entries: list[FileEntry], inputs: list[Inputs]) -> list[NDArray[Any]]:
    """Answers of the most exact file that runs here: fp32 if the release has it."""
    failures = []
    for entry in sorted(entries, key=lambda e: (e.meta["variant"] != "fp32", -e.bytes)):
        try:
            engine = _open(bundle, entry)
            return [engine.run(one) for one in inputs]
        except EngineError as err:
            failures.append(f"{entry.name}: {err}")
    raise EngineError("; ".join(failures) or "the release has no model for the runtimes here")


def _open(bundle: Bundle, entry: FileEntry) -> Engine:
    return open_engine(bundle.path(entry.name), str(entry.meta["engine"]))


def _check_file(
    bundle: Bundle,
    device: Recommender,
    entry: FileEntry,
    inputs: list[Inputs],
    truth: list[NDArray[Any]],
) -> FileCheck:
    model, engine = str(entry.meta["model"]), str(entry.meta["engine"])
    if in_set := set_of(entry):
        model = RANKER
    facts: dict[str, Any] = {
        "model": model,
        "set": in_set,
        "engine": engine,
        "runtime": _runtime_label(engine),
        "variant": str(entry.meta["variant"]),
        "default": bool(entry.meta.get("default")),
        "bytes": entry.bytes,
        "to_keras": float(entry.meta.get("max_abs_error", 0.0)),
    }
    least = str(entry.meta.get("min_runtime", ""))
    if is_older(runtime_version(engine), least):
        return FileCheck(**facts, status="passed over", note=f"needs runtime {least}")
    try:
        loaded = _open(bundle, entry)
        answers = [loaded.run(one) for one in inputs]
        broken = [
            name
            for name, hard in hard_inputs(model, inputs[-1]).items()
            if not np.isfinite(loaded.run(hard)).all()
        ]
    except EngineError as err:
        return FileCheck(**facts, status="failed", note=str(err))
    if not all(np.isfinite(answer).all() for answer in answers):
        broken.append("golden requests")
    scores = [
        (_scores(bundle, device, model, one, a), _scores(bundle, device, model, one, b))
        for one, a, b in zip(inputs, answers, truth, strict=True)
    ]
    return FileCheck(
        **facts,
        status="failed" if broken else "ok",
        note=f"not finite on: {', '.join(broken)}" if broken else "",
        **asdict(compare_outputs(model, answers, truth, scores)),
        ms=median_ms(loaded, inputs[-1]),
    )


def _scores(
    bundle: Bundle, device: Recommender, model: str, inputs: Inputs, answer: NDArray[Any]
) -> NDArray[Any]:
    """What a model's answer makes of each item, or of each candidate."""
    if model == "ranker":
        return ranked(bundle.spec, bundle.objectives, inputs, answer)
    nobody = np.zeros(bundle.item_count, np.bool_)
    rows, found = search(device.index, answer[0], bundle.item_count, 0, nobody)
    scores = np.zeros(bundle.item_count, np.float32)
    scores[rows] = found
    return scores


def _check_slates(bundle: Bundle, engine: str, golden: Golden) -> SlateCheck:
    facts: dict[str, Any] = {"engine": engine, "runtime": _runtime_label(engine)}
    facts["cases"] = len(golden.cases)
    stages: tuple[StageCheck, ...] = ()
    try:
        device = Recommender(bundle, engine)
        if (expected := read_stages(bundle, golden)) is not None:
            stages = tuple(check_stages(device, golden, expected))
        stages += tuple(check_cases(device))
        stages += tuple(_check_sets(bundle, engine))
        replay(bundle, engine)
    except (SelfTestFailedError, EngineError) as err:
        return SlateCheck(**facts, passed=False, note=str(err), stages=stages)
    return SlateCheck(**facts, passed=all(s.passed for s in stages), stages=stages)


def _check_sets(bundle: Bundle, engine: str) -> Iterator[StageCheck]:
    """Check the first ranker of each model set that the engine loads, as a device does."""
    for name in set_names(bundle.manifest):
        for entry in set_rankers(bundle.manifest, name, engine)[:1]:
            stage = f"set {name}"
            try:
                share, note = check_ranker(bundle, entry, engine), ""
            except SelfTestFailedError as err:
                share, note = math.inf, str(err)
            yield StageCheck(stage=stage, of_tolerance=share, passed=share <= 1, note=note)


def _runtime_label(engine: str) -> str:
    """Name and version of the runtime behind an engine, for people."""
    name = runtime(engine).replace("_", "-")
    try:
        return f"{name} {version(name)}"
    except PackageNotFoundError:
        return name
