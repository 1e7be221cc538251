"""The model card: where a release comes from and how good it is, for people and for machines."""

import json
from pathlib import Path
from typing import Any

from bundle.files import canonical_json
from training import columns as col


def render(report: dict[str, Any], run_dir: Path) -> dict[str, bytes]:
    """Return `model_card.json` and `model_card.md`, without any time that differs between runs."""
    training = json.loads((run_dir / "train_report.json").read_bytes())
    path = run_dir / col.REPORT_FILE
    data = json.loads(path.read_bytes()) if path.is_file() else {}
    keep = (
        "recipe",
        "seed",
        "epochs",
        "valid_ndcg10",
        "user_tower_parameters",
        "ranker_parameters",
    )
    card = {"export": report, "training": {k: training[k] for k in keep}, "data": data}
    rows = "\n".join(
        f"| {r['model']} | {r['engine']} | {r['variant']} | {r['bytes']} "
        f"| {r['max_abs_error']:.2e} | {r['mean_abs_error']:.2e} |"
        for r in report["parity"]
    )
    forced = "\n**Shipped with --force: the gate refused.**\n" if report["forced"] else ""
    text = f"""# {report["name"]}
{forced}
- Data: {data.get("dataset", "unknown")}, licence: {data.get("licence", "unknown")}; \
{data.get("interactions", 0)} interactions of {data.get("users", 0)} users with \
{report["items"]} items
- Training: {training["epochs"]} epochs, seed {training["seed"]}, best validation NDCG@10 \
{training["valid_ndcg10"]:.4f}
- Default variant: {report["default_variant"]}, the smallest whose golden slates agree on both \
engines (slates that differ, by variant: {report["differing"]})

| model | engine | variant | bytes | largest error | mean error |
|---|---|---|---|---|---|
{rows}
"""
    return {"model_card.json": canonical_json(card), "model_card.md": text.encode()}
