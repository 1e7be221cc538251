"""`pocketrec export`: make a bundle from a run, update its catalogue, or write a kit."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pocketrec.next_command import print_next
from pocketrec.quiet import load_tensorflow

if TYPE_CHECKING:
    from pocketrec_export.kit.build import KitReport
    from pocketrec_export.report import ExportReport
    from pocketrec_training.run_folder import Fit


@click.command(epilog="Example: pocketrec export work/run --out work/bundle")
@click.argument("run", type=click.Path(path_type=Path), required=False)
@click.option("--run", "run_option", type=click.Path(path_type=Path), help="Same as RUN.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The bundle folder.")
@click.option(
    "--catalogue",
    type=click.Path(path_type=Path),
    help="Changes as JSON, or JSON Lines (.jsonl) for many: items to add and change, ids to "
    "withdraw and restore. If the share of withdrawn items exceeds the recipe's "
    "export.compact_share, their rows are removed. Histories then lack these items, and you can "
    "only add them again.",
)
@click.option(
    "--base",
    type=click.Path(path_type=Path),
    help="Bundle to change with --catalogue, or to make a kit of.",
)
@click.option(
    "--campaigns",
    type=click.Path(path_type=Path),
    help="TOML or JSON: items for the recipe's rerank.sponsored_places and their times. With "
    "--catalogue: they replace those of the base.",
)
@click.option(
    "--name",
    help="Name of the release; default: the recipe's name and the time of the newest event, or the "
    "base's and a digest of the changes.",
)
@click.option(
    "--fit",
    type=click.Choice(["final", "evaluation"]),
    help="Fit of the run. Export the evaluation fit to score a bundle on the test events, which the"
    " final fit has seen.  [default: final if the run has one]",
)
@click.option(
    "--ranker",
    "rankers",
    multiple=True,
    metavar="NAME=RUN",
    help="Also pack the ranker of another run as model set NAME, for an arm of an experiment. The "
    "runs must differ in [ranker] only. May be repeated.",
)
@click.option("--force", is_flag=True, help="Overwrite --out, and export even if a gate refuses.")
@click.option("--all-variants", is_flag=True, help="Also pack model files that no target uses.")
@click.option(
    "--kit",
    type=click.Choice(["android", "ios", "web"]),
    help="Write a kit for an app, from RUN or --base.",
)
@click.option(
    "--root", type=click.Path(path_type=Path), help="1.root.json for the kit: the trusted keys."
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON object.")
def command(
    run: Path | None,
    run_option: Path | None,
    out: Path,
    catalogue: Path | None,
    base: Path | None,
    campaigns: Path | None,
    name: str | None,
    fit: "Fit | None",
    rankers: tuple[str, ...],
    force: bool,
    all_variants: bool,
    kit: str | None,
    root: Path | None,
    as_json: bool,
) -> None:
    """Export RUN as a bundle: for each target the smallest models within the recipe's budgets.

    Exit code 3: no variant is within a target's budgets; the table says by how much.

    With --kit the folder is one for an app instead: models of that target, resources, constants in
    its language, operators for a smaller runtime and a README.
    """
    run = run or run_option
    of_sets = _by_name(rankers)
    if of_sets and (kit or catalogue):
        raise click.UsageError("--ranker is of a bundle of RUN; a catalogue update keeps its sets.")
    if kit is not None:
        if (run is None) == (base is None) or catalogue or campaigns or name or all_variants or fit:
            raise click.UsageError(
                "--kit takes either RUN or --base, and neither changes nor more."
            )
        written = asdict(_kit(run, base, kit, out, root, force))
        click.echo(json.dumps(written) if as_json else _lines(written))
        return
    if root is not None:
        raise click.UsageError("--root is part of a kit: add --kit.")
    load_tensorflow()
    if run is None or (catalogue is None) != (base is None):
        raise click.UsageError("RUN is needed; --catalogue and --base go together.")
    if catalogue is not None and fit is not None:
        raise click.UsageError("--fit is the base's with --catalogue: leave it out.")
    if catalogue is not None and base is not None:
        from pocketrec_export.items.catalogue import update_catalogue

        changed = asdict(
            update_catalogue(base, catalogue, run, out, force=force, campaigns=campaigns, name=name)
        )
        click.echo(json.dumps(changed) if as_json else _lines(changed))
        return
    from pocketrec_export.build import export_bundle

    report = export_bundle(
        run=run,
        out=out,
        force=force,
        all_variants=all_variants,
        campaigns=campaigns,
        name=name,
        fit=fit,
        rankers=of_sets,
    )
    if report.baseline_gain:
        click.echo(report.baseline_gain, err=True)
    if as_json:
        click.echo(json.dumps(asdict(report)))
        return
    click.echo(_told(report))
    print_next("device", "recommend", "--bundle", out, "--home", "phone", "--offline")


def _by_name(rankers: tuple[str, ...]) -> dict[str, Path]:
    """Return runs by the name of their model set."""
    found: dict[str, Path] = {}
    for text in rankers:
        name, equals, run = text.partition("=")
        if not (name and equals and run):
            raise click.BadParameter(f"{text!r}: expected NAME=RUN.", param_hint="--ranker")
        if name in found:
            raise click.BadParameter(f"{name} is given twice.", param_hint="--ranker")
        found[name] = Path(run)
    return found


def _kit(
    run: Path | None, base: Path | None, target: str, out: Path, root: Path | None, force: bool
) -> "KitReport":
    """Write a kit; TensorFlow is needed only to make a bundle first."""
    if run is not None:
        load_tensorflow()
    from pocketrec_export.kit.build import kit_of_run, write_kit

    if run is not None:
        return kit_of_run(run, target, out, root=root, force=force)
    assert base is not None
    return write_kit(base, target, out, root=root, force=force)


def _told(report: "ExportReport") -> str:
    """Return three tables: files beside Keras, what each target gets, and what was sampled."""
    from pocketrec_export.gates.rows import remedies, table

    lines = [
        f"{'model':<12}{'engine':<8}{'variant':<11}{'bytes':>9}{'max error':>11}{'cosine':>10}"
        f"{'overlap':>9}{'ms':>7}"
    ]
    lines += [
        f"{f.model:<12}{f.engine:<8}{f.variant:<11}{f.bytes:>9,}"
        + (f"  {f.note}" if f.note else f"{f.max_error:>11.1e}{f.cosine:>10.6f}")
        + ("" if f.note else f"{f.overlap:>9.4f}{f.ms:>7.2f}")
        for f in report.files
    ]
    lines.append(f"\n{'target':<9}{'engine':<8}{'user tower':<12}{'ranker':<11}{'bytes':>9}  gates")
    lines += [
        f"{s.target:<9}{s.engine:<8}{s.user_tower:<12}{s.ranker:<11}{s.models_bytes:>9,}  {s.state}"
        for s in report.shipped
    ]
    for one in report.sets:
        lines.append(f"\nModel set {one.name}:")
        lines += [
            f"{s.target:<9}{s.engine:<8}{s.user_tower:<12}{s.ranker:<11}{s.models_bytes:>9,}  "
            f"{s.state}"
            for s in one.shipped
        ]
        lines += [f"Note: {one.note}"] if one.note else []
    sampled = [row for row in report.gates_of_shipped() if row.interval]
    lines.append(f"\nWhat was sampled, of the files that ship:\n{table(sampled)}")
    if report.golden_unmade:
        lines.append("\nGolden cases that this release cannot show:")
        lines += [f"  {each}" for each in report.golden_unmade]
    if warned := [row for row in sampled if row.warned]:
        lines.append(
            f"\nWarning: {len(warned)} of these are beyond the limit, but not certainly (a "
            "loss) or not far enough (a time) to be refused. "
            f"What to do, by recipe key:\n{remedies(warned)}"
        )
    fit = "final fit, on all events" if report.fit == "final" else "evaluation fit"
    lines.append(f"\n{report.name}: {report.items:,} items, {report.bundle_bytes:,} bytes; {fit}")
    return "\n".join(lines)


def _lines(values: dict[str, object]) -> str:
    return "\n".join(f"{name:<14}{value}" for name, value in values.items())
