"""A kit is a folder that an app developer drops in: a bundle cut down to one target, and more.

It is written beside its place and put there in one step, like a bundle; what it says of the models
is read from their files.
"""

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from pocketrec_bundle.disk.files import check_free, replace_dir, write_atomic, write_failed
from pocketrec_bundle.encoding.strict_json import parse_json
from pocketrec_bundle.errors import BundleInvalidError, InputError
from pocketrec_bundle.manifest import FileEntry, manifest_bytes
from pocketrec_bundle.reader import Bundle, open_bundle
from pocketrec_edge.engines.select import open_engine
from pocketrec_export.kit.facts import Facts, facts_of
from pocketrec_export.kit.sources import PLATFORMS, RELEASE_FOLDER, render
from pocketrec_export.models.operators import onnx_operators, tflite_operators
from pocketrec_export.models.ort_format import required_operators, to_ort
from pocketrec_export.targets import models_of

_OPERATORS = {"litert": tflite_operators, "onnx": onnx_operators}


@dataclass(frozen=True, slots=True, kw_only=True)
class KitReport:
    """What was written: names of the models; bytes of the release in the kit, and of everything."""

    target: str
    engine: str
    release: str
    user_tower: str
    ranker: str
    models_bytes: int
    bundle_bytes: int
    kit_bytes: int


def write_kit(
    base: Path, target: str, out: Path, *, root: Path | None = None, force: bool = False
) -> KitReport:
    """Write the kit of a bundle.

    Args:
        base: a bundle folder.
        target: android, ios or web.
        out: the kit's folder; replaced only with `force`.
        root: a TUF root to pin, `1.root.json` of a repository.
        force: replace `out`.

    Raises:
        BundleInvalidError: the bundle fails its checks.
        EngineError: the runtime here refuses a model, or is missing.
        InputError: `out` exists, `root` is no TUF root, or the bundle has no models for the target.
        PocketRecError: the disk is full or cannot be written; `out` is untouched.
    """
    check_free(out, force=force)
    for given in (base, root):
        if given is not None and given.resolve().is_relative_to(out.resolve()):
            raise InputError(f"{given} lies in {out}, which the kit would replace; choose another.")
    whole = open_bundle(base)
    models = models_of(whole.manifest, target)
    engine = str(models[0].meta["engine"])
    for entry in models:
        open_engine(whole.path(entry.name), engine)  # what no runtime loads is refused here
    pinned = None if root is None else _root(root)
    folder = out.parent / f".{out.name}.partial"
    shutil.rmtree(folder, ignore_errors=True)
    try:
        platform = PLATFORMS[target]
        release_dir = folder / platform.resources / RELEASE_FOLDER
        release = _reduced(whole, models, release_dir)
        if pinned is not None:
            write_atomic(release_dir / "root.json", pinned)
        facts = facts_of(release, RELEASE_FOLDER)
        texts = _beside(whole, release, facts, engine)
        texts |= render(target, facts, [*texts], pinned=pinned is not None)
        for path, data in texts.items():
            write_atomic(folder / path, data)
        report = KitReport(
            target=target,
            engine=engine,
            release=release.manifest.name,
            user_tower=models[0].name,
            ranker=models[1].name,
            models_bytes=sum(entry.bytes for entry in models),
            bundle_bytes=_bytes(release_dir),
            kit_bytes=_bytes(folder),
        )
        replace_dir(folder, out)
    except OSError as err:
        raise write_failed(out, err) from err
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return report


def kit_of_run(
    run: Path, target: str, out: Path, *, root: Path | None = None, force: bool = False
) -> KitReport:
    """Export a run into a bundle beside `out`, gates included, and write the kit of that.

    Raises:
        GateRefusedError: no variant is within a target's budgets, and `force` is not set.
        InputError, PocketRecError: as `write_kit` and `export_bundle`.
    """
    from pocketrec_export.build import (
        export_bundle,  # brings TensorFlow, which the kit of a bundle needs not
    )

    check_free(out, force=force)
    base = out.parent / f".{out.name}.bundle"
    shutil.rmtree(base, ignore_errors=True)
    try:
        export_bundle(run=run, out=base, force=force)
        return write_kit(base, target, out, root=root, force=force)
    finally:
        shutil.rmtree(base, ignore_errors=True)


def _root(path: Path) -> bytes:
    """Return a TUF root's bytes; who signed it is the business of the client that pins it."""
    try:
        data = path.read_bytes()
    except OSError as err:
        raise InputError(f"{path}: cannot be read ({err.strerror or err})") from err
    try:
        value = parse_json(path.name, data)
    except BundleInvalidError as err:
        raise InputError(f"{path}: not a TUF root ({err})") from err
    signed = value.get("signed") if isinstance(value, dict) else None
    if not isinstance(signed, dict) or signed.get("_type") != "root":
        raise InputError(f"{path}: not a TUF root; take metadata/1.root.json of the repository.")
    return data


def _reduced(whole: Bundle, models: list[FileEntry], out: Path) -> Bundle:
    """Write the release with two models, both default, and without the cards for people."""
    entries = tuple(
        replace(entry, meta={**entry.meta, "default": 1}) if entry in models else entry
        for entry in whole.manifest.files
        if entry in models or entry.kind not in ("model", "card")
    )
    for entry in entries:
        write_atomic(out / "files" / entry.sha256, whole.read(entry.name))
    write_atomic(out / "manifest.json", manifest_bytes(replace(whole.manifest, files=entries)))
    return open_bundle(out)


def _beside(whole: Bundle, release: Bundle, facts: Facts, engine: str) -> dict[str, bytes]:
    """What stands beside resources and sources, by its path in the kit."""
    files = {m.name: release.read(m.file.name) for m in facts.models}
    lines = ["# model\toperator\tversion"] + [
        f"{model}\t{operator}\t{version}"
        for model, data in files.items()
        for operator, version in sorted(_OPERATORS[engine](data).items())
    ]
    found = {"operators.txt": "\n".join([*lines, ""]).encode()}
    if engine == "onnx":
        found["required_operators.config"] = required_operators([*files.values()]).encode()
        found |= {f"ort/{model}.ort": to_ort(data) for model, data in files.items()}
    if any(entry.name == "model_card.md" for entry in whole.manifest.files):
        found["MODEL_CARD.md"] = whole.read("model_card.md")
    return found


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
