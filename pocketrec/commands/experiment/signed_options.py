"""Where a command finds the signed experiments that it analyses."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pocketrec.commands.repository.rollout_options import Moment

if TYPE_CHECKING:
    from pocketrec_bundle.settings.experiments import Experiments

EXPERIMENTS = click.option(
    "--experiments",
    "file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="The channel's experiments.json.",
)
SIGNED_IN = click.option(
    "--repo", type=click.Path(path_type=Path), help="The repository, in its place."
)
UNTIL = click.option(
    "--until",
    type=Moment(),
    help="When it was stopped, killed or shipped; later events are left out.",
)


def signed_experiments(file: Path | None, repo: Path | None, channel: str) -> "Experiments":
    """Return the experiments of a file, or of a channel of a repository.

    Raises:
        click.UsageError: not one of both is given.
        BundleInvalidError: the file is damaged.
        RepositoryInvalidError: the repository is damaged.
    """
    if (file is None) == (repo is None):
        raise click.UsageError("Give one of --experiments and --repo.")
    if file is not None:
        from pocketrec_bundle.settings.experiments import MAX_BYTES, Experiments

        with file.open("rb") as stream:
            return Experiments.from_bytes(stream.read(MAX_BYTES + 1))
    assert repo is not None
    from pocketrec_server.experiments.signing import read_experiments

    return read_experiments(repo, channel)


def interleaves(signed: "Experiments", experiment: str) -> bool:
    """Whether an experiment mixes its arms in each slate."""
    found = signed.find(experiment)
    return found is not None and found.interleave
