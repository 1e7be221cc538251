"""`pocketrec bad-bundles`: write bundles with one fault each, and the expected error codes."""

from pathlib import Path

import click


@click.command(epilog="Example: pocketrec bad-bundles --out work/bad-bundles")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="A new folder.",
)
def command(out: Path) -> None:
    """Write small bundles with one fault each, to test a reader in another language.

    OUT/expected.json lists them: folder, what is wrong, the code that every reader must give
    (bundle/FORMAT.md, "Error codes") and the step at which it must refuse at the latest: "open",
    "texts" (looking titles up), "self-test" or "all-texts" (reading all, which phones do not).
    Three are sound, one of each format version; their code is null. Equal versions of PocketRec
    write equal bytes.
    """
    from pocketrec_bundle.disk.files import check_free
    from pocketrec_export.conformance.bad_bundles import EXPECTED, write_bad_bundles

    check_free(out, force=False)
    found = write_bad_bundles(out)
    click.echo(f"{found} bundles in {out}; the expected codes are in {out / EXPECTED}.")
