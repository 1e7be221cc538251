"""`pocketrec verify`: test a bundle on the runtimes of this machine."""

import json
from dataclasses import asdict
from pathlib import Path

import click


@click.command(epilog="Example: pocketrec verify work/bundle")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(bundle: Path, as_json: bool) -> None:
    """Run each model file of BUNDLE on each installed runtime and replay its golden requests.

    Exit code 3 if the golden requests fail on a runtime, or a default file gives no finite numbers.
    """
    from pocketrec_bundle.reader import open_bundle
    from pocketrec_edge.releases.verify import verify

    found = verify(open_bundle(bundle))
    if as_json:
        click.echo(json.dumps(asdict(found)))
    else:
        heads = f"{'max error':>10}{'mean':>10}{'overlap':>9}{'rank corr.':>12}{'ms':>8}"
        click.echo(f"{'model':<12}{'engine':<8}{'variant':<9}{'bytes':>10}{heads}  status")
        for row in found.files:
            numbers = f"{row.max_error:>10.1e}{row.mean_error:>10.1e}{row.overlap:>9.4f}"
            numbers += f"{row.rank_correlation:>12.6f}{row.ms:>8.2f}"
            default = ", default" if row.default else ""
            default += f", set {row.set}" if row.set else ""
            click.echo(
                f"{row.model:<12}{row.engine:<8}{row.variant:<9}{row.bytes:>10,}"
                f"{numbers if row.status == 'ok' else ' ' * len(heads)}  "
                f"{row.status}{default}{f': {row.note}' if row.note else ''}"
            )
        for slates in found.slates:
            told = f"{slates.cases} golden requests on {slates.runtime}"
            click.echo(f"{told}: {'passed' if slates.passed else slates.note or 'failed'}")
            for stage in slates.stages:
                share = f"{stage.of_tolerance:.2g} of the tolerance"
                click.echo(f"  {stage.stage:<21} {share:<26}{stage.note or 'passed'}")
    if not found.passed:
        click.get_current_context().exit(3)
