"""Write small bundles with one fault each, and the error code that every reader must report.

For clients in other languages: `pocketrec bad-bundles --out DIR`. Equal versions write equal bytes.
The faults are in `defects/`. Each is the tiny bundle of `tiny_bundle.py` with one change. If the
fault is inside a file, the manifest gets the new hash, as an attacker would do.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from pocketrec_bundle.disk.files import canonical_json
from pocketrec_bundle.errors import BundleInvalidError
from pocketrec_bundle.golden.edges import GoldenEdges
from pocketrec_bundle.golden.features import GoldenFeatures
from pocketrec_bundle.golden.rules import GoldenRules
from pocketrec_bundle.golden.vectors import Golden
from pocketrec_bundle.items.catalogue import Catalogue
from pocketrec_bundle.reader import open_bundle
from pocketrec_edge.errors import SelfTestFailedError
from pocketrec_edge.releases.selftest import replay
from pocketrec_edge.releases.stages import read_stages
from pocketrec_export.conformance.defects import DEFECTS
from pocketrec_export.conformance.defects.defect import ALL_TEXTS, OPEN, SELF_TEST, TEXTS
from pocketrec_export.conformance.sound import Base, Mutant
from pocketrec_export.conformance.tiny_bundle import write_tiny_bundle

EXPECTED = "expected.json"
UNPROVED = ("golden_edges.json", "golden_features.json", "golden_rules.json")
"""Files that bundles of other faults omit, to stay small."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """How a reader refuses; error: for people."""

    step: str
    code: str
    error: BundleInvalidError | SelfTestFailedError


def write_bad_bundles(out: Path) -> int:
    """Write all faulty bundles and three sound ones to a new folder; return their number."""
    out.mkdir(parents=True)
    listed = []
    for told, base, made in bundles():
        _write(out / str(told["folder"]), base, made)
        listed.append(told)
    (out / EXPECTED).write_bytes(canonical_json({"version": 1, "bundles": listed}))
    return len(listed)


def bundles() -> Iterator[tuple[dict[str, str | None], Base, Mutant]]:
    """Yield each bundle: its line of `EXPECTED`, what it is made of, and its difference from it."""
    with TemporaryDirectory() as scratch:
        bases = {version: _base(Path(scratch), version) for version in (1, 2, 3)}
    small = {version: _small(base) for version, base in bases.items()}
    for version, base in bases.items():
        told = {"folder": f"sound-version-{version}", "code": None, "step": None, "fault": "none"}
        yield told, base, base.signed({})
    for each in DEFECTS:
        base = (bases if each.golden else small)[each.version]
        told = {"folder": each.name, "code": each.code, "step": each.step, "fault": each.fault}
        yield told, base, each.make(base)


def refusal(folder: Path, engine: str = "onnx") -> Refusal | None:
    """Read a bundle as a device: open it, read texts, run the self-test; None if it is sound."""
    step = OPEN
    try:
        bundle = open_bundle(folder)
        step = TEXTS
        bundle.catalogue(list(range(bundle.item_count)))
        step = SELF_TEST
        golden = Golden.of(bundle)
        GoldenEdges.of(bundle)
        GoldenRules.of(bundle)
        GoldenFeatures.of(bundle)
        read_stages(bundle, golden)
        replay(bundle, engine)
        step = ALL_TEXTS
        for _ in Catalogue(bundle.path("catalogue.sqlite")).all_items(bundle.item_count):
            pass
    except (BundleInvalidError, SelfTestFailedError) as err:
        return Refusal(step, err.code, err)
    return None


def _base(scratch: Path, version: int) -> Base:
    folder = scratch / str(version)
    write_tiny_bundle(folder, version, answers=True)
    return Base.read(folder)


def _small(base: Base) -> Base:
    """Return the same release without the larger golden files."""
    kept = {name: data for name, data in base.files.items() if name not in UNPROVED}
    return Base(json.loads(base.signed({}, UNPROVED).manifest), kept)


def _write(folder: Path, base: Base, made: Mutant) -> None:
    """Write a bundle: the files that its manifest names, but for what is missing on purpose."""
    (folder / "files").mkdir(parents=True)
    (folder / "manifest.json").write_bytes(made.manifest)
    blobs = base.blobs | dict(made.blobs)
    named = made.manifest.decode("utf-8", errors="replace")
    for sha256, data in blobs.items():
        if sha256 in named:
            (folder / "files" / sha256).write_bytes(data)
    if made.odd is not None:
        path, what = made.odd
        (folder / path).unlink()
        if what == "directory":
            (folder / path).mkdir()
