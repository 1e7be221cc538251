"""What the constants of a kit say: facts of one release, read from the bundle and its models."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from pocketrec_bundle.declared.item_features import column_names
from pocketrec_bundle.features import FeatureSpec
from pocketrec_bundle.golden.vectors import Golden
from pocketrec_bundle.manifest import FileEntry
from pocketrec_bundle.reader import Bundle
from pocketrec_edge.engines.select import MODELS

Kind = Literal["text", "integer", "long", "number", "flag"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Constant:
    """One named value; kind is its type in every language, "integer" one of 32 bits."""

    name: str
    kind: Kind
    value: str | int | float | bool
    meaning: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """An input or output of a model file, by its name there; dtype as in FORMAT.md, "f32"."""

    name: str
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """One of the two model files, with its tensors in the file's order."""

    name: str
    file: FileEntry
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """All that the generated sources hold. An event's code is its place in `spec.event_types`.

    declared: by input of the ranker the declared feature of each column, in format 3.
    """

    constants: tuple[Constant, ...]
    spec: FeatureSpec
    declared: dict[str, list[str]]
    models: tuple[Model, ...]
    files: tuple[FileEntry, ...]


def facts_of(bundle: Bundle, folder: str) -> Facts:
    """Read the facts of a bundle that holds one file of each model.

    Args:
        bundle: the release as the app gets it.
        folder: name of its folder among the app's resources.
    """
    manifest, spec, policy, golden = bundle.manifest, bundle.spec, bundle.policy, Golden.of(bundle)
    entries = {str(e.meta["model"]): e for e in manifest.files if e.kind == "model"}
    constants: list[tuple[str, Kind, str | int | float | bool, str]] = [
        ("format_version", "integer", manifest.format_version, "Version of the bundle format."),
        ("release", "text", manifest.name, "Name of the release, for people."),
        ("recipe", "text", manifest.recipe_name, "The recipe that made it."),
        ("created_utc", "long", manifest.created_utc, "Last moment of its data, unix seconds."),
        ("folder", "text", folder, "Folder of manifest.json and files/ among the resources."),
        ("engine", "text", str(entries[MODELS[0]].meta["engine"]), "Runtime of both models."),
        ("items", "integer", bundle.item_count, "N, items of the catalogue."),
        ("dim", "integer", spec.dim, "d, length of a vector."),
        ("max_history", "integer", spec.max_history, "L, events that the user tower reads."),
        ("max_categories", "integer", spec.max_categories, "K, categories of an item."),
        ("categories", "integer", len(spec.categories), "V, categories of the catalogue."),
        ("candidates", "integer", spec.candidates, "B, rows of the ranker's inputs."),
        ("recent", "integer", spec.recent, "R, last events of the recent features."),
        ("neighbours", "integer", spec.neighbours, "Q, neighbours of an item; 0: none."),
        ("neighbour_decay", "number", spec.neighbour_decay, "Weight from event to event."),
        (
            "neighbour_candidates",
            "integer",
            spec.neighbour_candidates,
            "Candidates that neighbours bring.",
        ),
        ("own_candidates", "integer", spec.own_candidates, "Candidates from the user's items."),
        ("policy_slate", "integer", policy.slate, "Items shown."),
        ("policy_category_cap", "integer", policy.category_cap, "Most of one category; 0: any."),
        (
            "policy_near_duplicate_cosine",
            "number",
            policy.near_duplicate_cosine,
            "Of two items as alike as this, one is shown.",
        ),
        ("policy_probes", "integer", policy.probes, "Cells of the index to scan; 0: all."),
        ("policy_candidates", "integer", policy.candidates, "Items handed to the ranker."),
        ("policy_repeats", "flag", policy.repeats, "Items of the history may be shown again."),
        ("golden_cases", "integer", len(golden.cases), "Requests in golden.json."),
        ("golden_vector_tolerance", "number", golden.vector_tolerance, "Of a user vector."),
        ("golden_score_tolerance", "number", golden.score_tolerance, "Of a score in a slate."),
    ]
    return Facts(
        constants=tuple(
            Constant(name=name, kind=kind, value=value, meaning=meaning)
            for name, kind, value, meaning in constants
        ),
        spec=spec,
        declared={name: one for name, one in column_names(bundle.features).items() if one},
        models=tuple(_model(name, entries[name], bundle) for name in MODELS),
        files=manifest.files,
    )


def _model(name: str, entry: FileEntry, bundle: Bundle) -> Model:
    data = bundle.read(entry.name)
    inputs, outputs = _litert(data) if entry.meta["engine"] == "litert" else _onnx(data)
    return Model(name=name, file=entry, inputs=inputs, outputs=outputs)


def _litert(data: bytes) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    from ai_edge_litert.interpreter import Interpreter

    opened = Interpreter(model_content=data)
    inputs, outputs = (
        tuple(
            Tensor(name=d["name"], dtype=_code(d["dtype"]), shape=tuple(map(int, d["shape"])))
            for d in details
        )
        for details in (opened.get_input_details(), opened.get_output_details())
    )
    return inputs, outputs


def _onnx(data: bytes) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    import onnx

    graph = onnx.load_from_string(data).graph
    inputs, outputs = (
        tuple(
            Tensor(
                name=v.name,
                dtype=_code(onnx.helper.tensor_dtype_to_np_dtype(v.type.tensor_type.elem_type)),
                shape=tuple(int(size.dim_value) for size in v.type.tensor_type.shape.dim),
            )
            for v in values
        )
        for values in (graph.input, graph.output)
    )
    return inputs, outputs


def _code(dtype: object) -> str:
    """Return a dtype's code in FORMAT.md's words: float32 is "f32"."""
    found = np.dtype(dtype)  # type: ignore[call-overload]
    return f"{found.kind}{8 * found.itemsize}"
