"""Options that the commands which sign share."""

from pathlib import Path

import click

REPO = click.option(
    "--repo", type=click.Path(path_type=Path), required=True, help="The repository."
)
KEYS = click.option(
    "--keys",
    type=click.Path(path_type=Path),
    required=True,
    multiple=True,
    help="Folder of keys; may be given again.",
)
PLAIN = click.option("--plain", is_flag=True, help="Do not encrypt new keys.")
JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
