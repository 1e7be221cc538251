"""`pocketrec inspect`: verify a bundle and print its content."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from pocketrec_bundle.declared import FittedFeature
    from pocketrec_bundle.objectives import Objectives


def _feature(fitted: "FittedFeature") -> dict[str, Any]:
    """Return what a person wants to know of a declared feature."""
    feature = fitted.feature
    found: dict[str, Any] = {"name": fitted.name, "kind": feature.kind}
    if feature.kind in ("category", "categories"):
        found |= {"names": len(fitted.names), "hash_buckets": feature.hash_buckets}
    if feature.kind == "categories":
        found["most"] = feature.most
    if feature.kind == "vector":
        found["length"] = feature.length
    return found


@click.command(epilog="Example: pocketrec inspect work/bundle")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--replay",
    "engine",
    type=click.Choice(["auto", "litert", "onnx"]),
    help="Also run the golden vectors on this engine.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(bundle: Path, engine: str | None, as_json: bool) -> None:
    """Verify each file of BUNDLE and print its content; exit code 1 if a check fails."""
    from pocketrec_bundle.golden.vectors import Golden
    from pocketrec_bundle.reader import open_bundle
    from pocketrec_bundle.settings.model_sets import set_names, set_of

    opened = open_bundle(bundle)
    manifest, spec = opened.manifest, opened.spec
    found: dict[str, Any] = {
        "name": manifest.name,
        "format_version": manifest.format_version,
        "recipe": manifest.recipe_name,
        "data_until": datetime.fromtimestamp(manifest.created_utc, UTC).isoformat(),
        "items": opened.item_count,
        "bytes": manifest.total_bytes(),
        "dim": spec.dim,
        "cells": len(opened.array("index/offsets")) - 1,
        "history": spec.max_history,
        "heads": dict(zip(spec.heads, spec.head_weights, strict=True)),
        **_objectives(opened.objectives),
        "features": [_feature(one) for one in opened.features.items],
        "golden_cases": len(Golden.of(opened).cases),
        "model_sets": list(set_names(manifest)),
        "files": [
            {**e.meta, "name": e.name, "kind": e.kind, "bytes": e.bytes, "sha256": e.sha256}
            for e in manifest.files
        ],
    }
    if engine:
        from pocketrec_edge.releases.selftest import replay

        found["replayed"] = replay(opened, engine)
    if as_json:
        click.echo(json.dumps(found))
        return
    for name, value in found.items():
        if name not in ("files", "features"):
            click.echo(f"{name:<16}{value:,}" if isinstance(value, int) else f"{name:<16}{value}")
    for feature in found["features"]:
        facts = ", ".join(
            f"{value:,} {key}" for key, value in feature.items() if type(value) is int
        )
        click.echo(f"{'feature':<16}{feature['name']} ({feature['kind']}{facts and ', '}{facts})")
    in_set = {entry.name: set_of(entry) for entry in manifest.files}
    click.echo(f"\n{'file':<34}{'bytes':>11}  facts")
    for file in found["files"]:
        error = file.get("max_abs_error")
        facts = (
            f"error {error:.1e}, runtime >= {file.get('min_runtime', '?')}"
            if error is not None
            else ""
        )
        marks = [f"model set {in_set[file['name']]}"] if in_set[file["name"]] else []
        marks += [f"for {file['targets']}"] if file.get("targets") else []
        marks += [mark for mark in ("default", "forced") if file.get(mark)]
        if "stopped_by" in file:
            marks.append(f"training stopped by {file['stopped_by']}")
        if file.get("fit") == "final":
            marks.append("learned from all events")
        if not file.get("reproducible", 1):
            marks.append("not reproducible")
        told = ", ".join([facts, *marks] if facts else marks)
        click.echo(f"{file['name']:<34}{file['bytes']:>11,}  {told}".rstrip())
    click.echo("\nall files verified")


def _objectives(objectives: "Objectives | None") -> dict[str, Any]:
    """Return what the heads mean and the formula; empty for a release without objectives."""
    from pocketrec_bundle.objectives.final_score import formula_of

    if objectives is None:
        return {}
    told = {
        head.name: " ".join(
            (
                f"{head.kind} of {', '.join(head.events)}",
                *((f"within {head.window_s} s",) if head.window_s else ()),
                *((f"up to {head.scale:g} {head.unit}".strip(),) if head.kind == "value" else ()),
            )
        )
        for head in objectives.heads
    }
    return {"objectives": told, "formula": formula_of(objectives)}
