"""Model sets: further rankers of a release, for the arms of experiments (FORMAT.md, "Model sets").

All else of the release is shared: user tower, items, features. Readers that do not know sets leave
their files out, as every model that they do not open.
"""

from pocketrec_bundle.encoding.strict_json import matches
from pocketrec_bundle.manifest import FileEntry, Manifest
from pocketrec_bundle.settings.experiment_arms import SET

ARM_RANKER = "arm_ranker"
"""Value of `model` in the meta data of a set's files."""


def set_names(manifest: Manifest) -> tuple[str, ...]:
    """Return the names of a release's model sets, sorted."""
    return tuple(sorted({name for entry in manifest.files if (name := set_of(entry))}))


def set_of(entry: FileEntry) -> str:
    """Return the model set of a file; "" for any other file."""
    name = entry.meta.get("set")
    is_ranker = entry.kind == "model" and entry.meta.get("model") == ARM_RANKER
    return str(name) if is_ranker and matches(SET, name) else ""


def is_ranker(entry: FileEntry) -> bool:
    """Whether a file is a ranker of the release itself."""
    return entry.kind == "model" and entry.meta.get("model") == "ranker"


def set_files(manifest: Manifest, name: str, engine: str) -> list[FileEntry]:
    """Return the rankers of a set for an engine, in the order in which a device tries them."""
    return [entry for entry in manifest.models(ARM_RANKER, engine) if set_of(entry) == name]


def file_name(name: str, engine: str, variant: str) -> str:
    """Return the logical name of a set's ranker."""
    return f"models/{name}/ranker.{engine}.{variant}"


def proof_file(name: str) -> str:
    """Return the logical name of a set's proof."""
    return f"golden/probabilities.{name}"
