"""`pocketrec compare`: test whether one evaluation is better than another on the same cases."""

import json
import tempfile
from pathlib import Path
from typing import Any

import click

from pocketrec.quiet import load_tensorflow
from pocketrec_bundle.errors import InputError

HEAD = f"{'metric':<11}{'A':>8}{'B':>8}{'B - A':>9}{'95%':>20}{'p':>8}{'wins':>7}{'losses':>8}"


@click.command(
    epilog="Example: pocketrec compare work/report-old work/report-new",
)
@click.argument("a", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("b", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--method-a", default="two_stage", show_default=True, help="Method of A.")
@click.option("--method-b", default="two_stage", show_default=True, help="Method of B.")
@click.option(
    "--data",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Canonical tables; then A and B may be runs, which are evaluated first.",
)
@click.option(
    "--seed",
    type=click.IntRange(0, 2**32 - 1),
    default=7,
    show_default=True,
    help="Seed of both tests.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
def command(
    a: Path, b: Path, method_a: str, method_b: str, data: Path | None, seed: int, as_json: bool
) -> None:
    """Compare evaluations A and B case by case; differences are B - A.

    Both must be of the same users, histories and held-out items. Give the same folder twice to
    compare two methods of one evaluation.
    """
    from pocketrec_training.evaluation.compare import compare

    with tempfile.TemporaryDirectory() as scratch:
        one = _evaluation(a, data, Path(scratch) / "a")
        two = _evaluation(b, data, Path(scratch) / "b")
        found = compare(one, two, method_a, method_b, seed)
    found["a"]["folder"], found["b"]["folder"] = str(a), str(b)
    click.echo(json.dumps(found) if as_json else _table(found))


def _evaluation(folder: Path, data: Path | None, scratch: Path) -> Path:
    """Return an evaluation's folder as it is; evaluate a run first."""
    from pocketrec_training.run_folder import RunFolder

    if not RunFolder(folder).report.exists() or (folder / "evaluation.json").exists():
        return folder
    if data is None:
        raise InputError(f"{folder}: a run, not an evaluation. Give --data to evaluate it first.")
    load_tensorflow()
    from pocketrec_training.evaluation.evaluate import evaluate

    scratch.mkdir()
    evaluate(run=folder, data=data, out=scratch)
    return scratch


def _table(found: dict[str, Any]) -> str:
    lines = [
        f"A: {found['a']['folder']} ({found['a']['method']})",
        f"B: {found['b']['folder']} ({found['b']['method']})",
        "95%: paired bootstrap of B - A; p: two-sided permutation test",
    ]
    for setting, part in found["settings"].items():
        lines += [
            "",
            f"{setting}, {part['cases']} cases",
            HEAD,
        ]
        for name, m in part["metrics"].items():
            between = f"[{m['low']:+.4f}, {m['high']:+.4f}]"
            lines.append(
                f"{name:<11}{m['a']:>8.4f}{m['b']:>8.4f}{m['difference']:>+9.4f}{between:>20}"
                f"{m['p']:>8.4f}{m['wins']:>7}{m['losses']:>8}"
            )
    return "\n".join(lines)
