"""Made-up data that several twins train on."""

from pathlib import Path

import numpy as np
import pytest


@pytest.fixture(scope="session")
def write_ring():
    """Return a function that writes a recipe and its interactions: a walk along a ring of 40 items.

    (folder, users, recipe with FOLDER where its own folder is meant) -> the recipe's path. Users go
    one or two items on, so what comes next is nearly certain.
    """

    def write(folder: Path, users: int, recipe: str) -> Path:
        rng = np.random.default_rng(1)
        lines = ["who,what,when"]
        for user in range(users):
            steps = rng.integers(0, 40) + np.cumsum(rng.integers(1, 3, 12))
            times = 60 * (user + 200 * np.arange(12))
            lines += [f"u{user},i{step % 40},{ts}" for step, ts in zip(steps, times, strict=True)]
        (folder / "interactions.csv").write_text("\n".join(lines))
        path = folder / "twin.toml"
        path.write_text(recipe.replace("FOLDER", str(folder)))
        return path

    return write
