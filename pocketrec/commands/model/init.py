"""`pocketrec init`: look at files of tables and write a recipe for them."""

import json
from pathlib import Path

import click

from pocketrec.next_command import print_next
from pocketrec_bundle.errors import InputError


@click.command(
    epilog="Example: pocketrec init ratings.csv movies.csv --out recipe.toml",
)
@click.argument("files", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("recipe.toml"),
    show_default=True,
    help="The recipe to write.",
)
@click.option("--force", is_flag=True, help="Overwrite --out.")
@click.option("--json", "as_json", is_flag=True, help="Print what was found as one JSON object.")
def command(files: tuple[Path, ...], out: Path, force: bool, as_json: bool) -> None:
    """Look at FILES, a table of interactions and others, and write a recipe for them.

    Nothing is asked. If a choice is not sure, the recipe has the list of possible values, and
    `pocketrec data` stops until you choose one. Of a large file, only parts are read.
    """
    if out.exists() and not force:
        raise InputError(f"{out}: exists already. Choose another --out, or add --force.")
    from pocketrec_bundle.disk.files import write_atomic
    from pocketrec_training.table_profile.profile import profile_files
    from pocketrec_training.table_profile.recipe_text import recipe_text
    from pocketrec_training.table_profile.report import profile_json, profile_lines

    profile = profile_files(list(files))
    write_atomic(out, recipe_text(profile).encode())
    if as_json:
        click.echo(json.dumps(profile_json(profile)))
        return
    for line in profile_lines(profile):
        click.echo(line)
    click.echo(f"\nwritten: {out}")
    print_next("data", out, "--out", "work/data")
