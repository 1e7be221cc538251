"""Files that are a split: their names are alike but for words such as train and test."""

import re
from collections.abc import Sequence
from pathlib import Path

from pocketrec_training.data.folds import FOLD_WORDS, TEST, TRAIN, VALID

_OF_FILES = {
    word: fold
    for fold, words in FOLD_WORDS.items()
    for word in (*words, *(("base",) if fold == TRAIN else ()))  # MovieLens: u1.base, u1.test
    if not word.isdigit()
}


def split_files(paths: Sequence[Path]) -> list[dict[int, Path]]:
    """Return fold -> file for each group of names that differ by such a word alone.

    Of a training and a validation file the second is the test: it is all that is held out.

    >>> found = split_files([Path("ml.train.inter"), Path("ml.test.inter"), Path("ml.item")])
    >>> [{fold: path.name for fold, path in each.items()} for each in found]
    [{0: 'ml.train.inter', 2: 'ml.test.inter'}]
    """
    groups: dict[tuple[str, ...], dict[int, Path]] = {}
    for path in paths:
        for parts in (path.name,), (path.parent.name, path.name):
            pieces = re.split(r"([\W_]+)", "/".join(parts).casefold())
            at = [place for place, piece in enumerate(pieces) if piece in _OF_FILES]
            if len(at) == 1:
                rest = ("/".join(pieces[: at[0]]), "/".join(pieces[at[0] + 1 :]))
                groups.setdefault(rest, {}).setdefault(_OF_FILES[pieces[at[0]]], path)
                break
    splits = [found for found in groups.values() if TRAIN in found and len(found) > 1]
    for found in splits:
        if TEST not in found:
            found[TEST] = found.pop(VALID)
    return [dict(sorted(found.items())) for found in splits]
