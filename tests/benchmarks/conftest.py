"""Made-up data that several twins train on, and a cheap way to train on it."""

from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks.support import command_line


@pytest.fixture(scope="module")
def in_process(uncompiled, two_folds):
    """Run the benchmark's commands in this process, trainings uncompiled and with two folds.

    A child imports TensorFlow and compiles for seconds, each time; a fold is one more ranker.
    `test_demo` runs children, which compile, with all folds.
    """

    def call(*words, shows_progress=False):
        from pocketrec.cli import main

        with uncompiled() if words[0] == "train" else nullcontext():
            done = CliRunner().invoke(main, list(map(str, words)))
        assert done.exit_code == 0, done.output
        return done.stdout.rstrip()

    with pytest.MonkeyPatch.context() as patch, two_folds():
        patch.setattr(command_line, "call", call)
        yield


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
