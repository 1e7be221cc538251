"""Rename the recipe keys of earlier versions. An old key works for one release and warns."""

from typing import Any

from pocketrec_training.errors import RecipeInvalidError

RENAMED = {
    "ranker.pieces": "ranker.ple_bins",
    "ranker.piece_gain": "ranker.ple_scale",
}
"""Old key -> present key in the same section. PocketRec 0.3.0 removes the old keys."""


def rename_keys(recipe: dict[str, Any], where: str) -> tuple[dict[str, Any], list[str]]:
    """Return a parsed recipe with present keys, in `tune.space` too, and a text for each old key.

    Args:
        recipe: the parsed TOML or JSON, not checked yet.
        where: file of the recipe, for messages.

    Raises:
        RecipeInvalidError: a key is set by its old and by its present name.
    """
    texts: list[str] = []
    for old, new in RENAMED.items():
        section, _, key = old.partition(".")
        if isinstance(table := recipe.get(section), dict) and key in table:
            texts.append(_text(old, new, new.partition(".")[2] in table, where))
            recipe = recipe | {section: _with_key(table, key, new.partition(".")[2])}
        tune = recipe.get("tune")
        space = tune.get("space") if isinstance(tune, dict) else None
        if isinstance(tune, dict) and isinstance(space, dict) and old in space:
            texts.append(_text(f'tune.space."{old}"', f'tune.space."{new}"', new in space, where))
            recipe = recipe | {"tune": tune | {"space": _with_key(space, old, new)}}
    return recipe, texts


def _with_key(table: dict[str, Any], old: str, new: str) -> dict[str, Any]:
    return {new if key == old else key: value for key, value in table.items()}


def _text(old: str, new: str, both: bool, where: str) -> str:
    if both:
        raise RecipeInvalidError(
            f"{where}: {old} is the old name of {new}, and both are set. Remove {old}."
        )
    return f"{where}: {old} is now {new}. The old name works until PocketRec 0.3.0."
