"""The kinds of phones of a release, and the models for each."""

from pocketrec_bundle.errors import InputError
from pocketrec_bundle.manifest import FileEntry, Manifest
from pocketrec_edge.engines.select import ENGINES, MODELS

ENGINE_OF = {"android": "litert", "ios": "onnx", "web": "onnx", "legacy": "litert"}
"""The engine that a kind of phone usually runs."""


def models_of(manifest: Manifest, target: str) -> list[FileEntry]:
    """Return the user tower and the ranker that a release has for a target.

    Models of an early version name no targets. Then this is the default pair of the engine that
    such phones usually run.

    Raises:
        InputError: the release has no models for the target.
    """
    named = {e.name: _targets(e) for e in manifest.files if e.kind == "model"}
    every = {target for targets in named.values() for target in targets}
    for engine in ENGINES if every else (ENGINE_OF[target],):
        found = [
            [e for e in manifest.models(model, engine) if not every or target in named[e.name]]
            for model in MODELS
        ]
        if all(found):
            return [entries[0] for entries in found]
    has = ", ".join(sorted(every)) or f"no pair of {ENGINE_OF[target]} models"
    raise InputError(
        f"the release {manifest.name!r} has no models for {target}; it has {has}. "
        f"Add export.targets.{target} to the recipe and export again."
    )


def _targets(entry: FileEntry) -> set[str]:
    return set(filter(None, str(entry.meta.get("targets", "")).split(",")))
