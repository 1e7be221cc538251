"""`pocketrec export`: a run becomes a bundle; or a bundle and changes become the next one."""

import json
from dataclasses import asdict
from pathlib import Path

import click

from pocketrec.quiet import load_tensorflow


@click.command(epilog="Example: pocketrec export work/run --out work/bundle")
@click.argument("run", type=click.Path(path_type=Path), required=False)
@click.option("--run", "run_option", type=click.Path(path_type=Path), help="Same as RUN.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The bundle folder.")
@click.option(
    "--catalogue",
    type=click.Path(path_type=Path),
    help="Changes as JSON, or JSON Lines (.jsonl) for many: items to add and change, ids to "
    "withdraw and restore. Once withdrawn items are more than the recipe's export.compact_share, "
    "their rows go: histories then lack them, and they can only be added anew.",
)
@click.option("--base", type=click.Path(path_type=Path), help="Bundle that the changes apply to.")
@click.option("--force", is_flag=True, help="Overwrite, and ship although a gate refuses.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON object.")
def command(
    run: Path | None,
    run_option: Path | None,
    out: Path,
    catalogue: Path | None,
    base: Path | None,
    force: bool,
    as_json: bool,
) -> None:
    """Export RUN: TFLite and ONNX variants, checked against Keras, with index and catalogue."""
    load_tensorflow()
    run = run or run_option
    if run is None or (catalogue is None) != (base is None):
        raise click.UsageError("RUN is needed; --catalogue and --base go together.")
    if catalogue is not None and base is not None:
        from export.catalogue import update_catalogue

        changed = asdict(update_catalogue(base, catalogue, run, out, force=force))
        click.echo(json.dumps(changed) if as_json else _lines(changed))
        return
    from export.build import export_bundle

    report = export_bundle(run, out, force=force)
    if as_json:
        click.echo(json.dumps(asdict(report)))
        return
    click.echo(f"{'model':<12}{'engine':<8}{'variant':<9}{'bytes':>9}{'max error':>12}")
    for row in report.parity:
        click.echo(
            f"{row.model:<12}{row.engine:<8}{row.variant:<9}{row.bytes:>9,}{row.max_abs_error:>12.2e}"
        )
    click.echo(
        f"{report.name}: {report.items:,} items, {report.bundle_bytes:,} bytes; "
        f"default variant {report.default_variant}, models {report.models_bytes:,} bytes"
    )


def _lines(values: dict[str, object]) -> str:
    return "\n".join(f"{name:<14}{value}" for name, value in values.items())
