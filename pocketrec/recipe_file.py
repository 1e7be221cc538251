"""Read the recipe of a command, with warnings on stderr."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from pocketrec_training.recipe.schema import Recipe


def read_recipe(path: Path) -> "Recipe":
    """Read and check a recipe; print a warning for each key that has a new name."""
    from pocketrec_training.recipe.load import load_recipe

    return load_recipe(path, warn=lambda text: click.echo(f"warning: {text}", err=True))
