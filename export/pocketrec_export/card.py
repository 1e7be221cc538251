"""The model card: origin and quality of a release, as Markdown and JSON."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pocketrec_bundle.disk.files import canonical_json
from pocketrec_bundle.reference import KEY, Reference
from pocketrec_export.card_quality import sections
from pocketrec_export.gates.rows import GateRow, interval, shown
from pocketrec_export.report import ExportReport
from pocketrec_training.data.splits.check import no_times_told
from pocketrec_training.evaluation.quality import read_quality
from pocketrec_training.monitoring.stopping import cap_warning, final_told, stopped_told
from pocketrec_training.recipe.load import load_recipe
from pocketrec_training.run_folder import RunFolder

_CLOCKED = "latency ratio"
KEPT = (
    "recipe",
    "seed",
    "epochs",
    "epochs_planned",
    "retrieval_stopped_by",
    "valid_ndcg10",
    "ranker_epochs_planned",
    "ranker_epochs",
    "ranker_stopped_by",
    "reproducible",
    "tied_last_share",
    "user_tower_parameters",
    "ranker_parameters",
)
"""Keys of the train report that the card repeats; runs of earlier versions lack some."""

KEPT_OF_FINAL = (
    "epochs",
    "epochs_planned",
    "retrieval_stopped_by",
    "ranker_epochs",
    "ranker_lists",
    "new_items",
    "reproducible",
    "last_ts",
)
"""Keys of the final fit's report that the card repeats."""


def render(report: ExportReport, run_dir: Path, reference: Reference) -> dict[str, bytes]:
    """Return `model_card.json` and `model_card.md`, without any time that differs between runs.

    Args:
        report: of the export.
        run_dir: folder of the run.
        reference: distributions that `pocketrec monitor` compares the field with.
    """
    training = RunFolder(run_dir).read_report()
    if report.fit != "final":
        training.pop("final", None)
    quality = read_quality(run_dir)
    path = RunFolder(run_dir).data_report
    data = json.loads(path.read_bytes()) if path.is_file() else {}
    export = _without_times(asdict(report))
    gain = training.get("ranker_gain_sentence", "")
    no_times = no_times_told(load_recipe(RunFolder(run_dir).recipe).split.kind)
    card = {
        "fit": report.fit,
        "export": export,
        "training": {k: training[k] for k in KEPT if k in training} | {"ranker_gain": gain},
        "final": {k: training["final"][k] for k in KEPT_OF_FINAL} if report.fit == "final" else {},
        "data": data,
        "no_times": no_times,
        "quality": asdict(quality) if quality else {},
        KEY: reference.to_json(),
    }
    verdicts = "".join(f"- {line}\n" for line in (export["baseline_gain"], gain, no_times) if line)
    ended = "".join(f"- {text}\n" for text in (stopped_told(training), _capped(training)) if text)
    files = "\n".join(
        f"| {r['model']} | {r['engine']} | {r['variant']} | {r['bytes']} | {r['max_error']:.2e} "
        f"| {r['mean_error']:.2e} | {r['cosine']:.6f} | {r['hard_error']:.2e} | {r['note']} |"
        for r in export["files"]
    )
    shipped = "\n".join(
        f"| {s.target} | {s.engine} | {s.user_tower} | {s.ranker} | {s.models_bytes} "
        f"| {s.state if s.passed else f'**{s.state}**'} |"
        for s in report.shipped
    )
    gates = "\n".join(
        f"| {g.target} | {g.model} | {g.variant} | {g.check} | {shown(g.value)} | {interval(g)} "
        f"| {shown(g.limit)} | `{g.key}` | {g.state} | {g.note} |"
        for g in (GateRow(**row) for row in export["gates"])
    )
    text = f"""# {report.name}

{_fit(report, training)}{verdicts}- Data: {data.get("dataset", "unknown")}, licence: \
{data.get("licence", "unknown")}; \
{data.get("interactions", 0)} interactions of {data.get("users", 0)} users with \
{report.items} items
- Training: {training["epochs"]} epochs, seed {training["seed"]}, validation NDCG@10 of the towers \
{training["valid_ndcg10"]:.4f}
{ended}- Golden cases: {report.golden_cases}; {report.golden_left_out} more were left out, for \
rounding decides their order
- Edge cases that this release cannot show: {"; ".join(report.golden_unmade) or "none"}

{sections(quality)}## What each target gets
The smallest pair of files within the recipe's budgets.

| target | engine | user tower | ranker | bytes | gates |
|---|---|---|---|---|---|
{shipped}

## Files beside Keras
On real histories; the last error on hard inputs (empty, full, huge numbers, denormals).

| model | engine | variant | bytes | largest error | mean error | least cosine | hard inputs | |
|---|---|---|---|---|---|---|---|---|
{files}

## Gates
{_gates(report)}Losses are samples of validation cases: a gate refuses when the whole 95% \
interval is beyond the
limit, and warns when only the value found is.

| target | model | variant | check | found | interval | limit | recipe key | | |
|---|---|---|---|---|---|---|---|---|---|
{gates}
{_sets(report)}"""
    return {"model_card.json": canonical_json(card), "model_card.md": text.encode()}


def _fit(report: ExportReport, training: dict[str, Any]) -> str:
    """Say which fit ships, and which fit the figures are of."""
    if report.fit != "final":
        return ""
    return (
        f"- {final_told(training)}\n"
        "- All figures of quality are of the evaluation fit: it has the same recipe and held back "
        "the newest events, which the final fit has seen\n"
    )


def _sets(report: ExportReport) -> str:
    """Return the section of model sets; "" without any."""
    if not report.sets:
        return ""
    rows = "".join(
        f"| {one.name} | {s.target} | {s.engine} | {s.user_tower} | {s.ranker} | {s.models_bytes} "
        f"| {s.state if s.passed else f'**{s.state}**'} |\n"
        for one in report.sets
        for s in one.shipped
    )
    notes = "".join(f"\n- {one.name}: {one.note}\n" for one in report.sets if one.note)
    return (
        "\n## Model sets\nRankers for arms of experiments. Bytes are those of the release's user "
        "tower and this ranker; a device in\nsuch an arm keeps the release's ranker too.\n\n"
        "| set | target | engine | user tower | ranker | bytes | gates |\n"
        "|---|---|---|---|---|---|---|\n"
        f"{rows}{notes}"
    )


def _gates(report: ExportReport) -> str:
    if report.fit != "final":
        return ""
    return (
        "NDCG@10 and AUC losses are those of the evaluation fit, converted in the same way; all "
        "else is of the final fit.\n"
    )


def _capped(training: dict[str, Any]) -> str:
    warning = cap_warning(training)
    return f"**Warning:** {warning}" if warning else ""


def _without_times(report: dict[str, Any]) -> dict[str, Any]:
    """Drop what a clock measured: equal runs must give equal bytes."""
    files = [{k: v for k, v in file.items() if k != "ms"} for file in report["files"]]
    gates = [
        {**row, "value": "over", "interval": None} if row["check"] == _CLOCKED else row
        for row in report["gates"]
        if row["check"] != _CLOCKED or not row["passed"]
    ]
    found = {**report, "files": files, "gates": gates}
    if sets := found.pop("sets", None):
        found["sets"] = [_without_times(one) for one in sets]
    return found
