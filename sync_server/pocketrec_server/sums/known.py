"""The signed experiments of a channel, read once after each publish."""

from functools import lru_cache
from pathlib import Path

from pocketrec_bundle.settings.experiments import Experiments
from pocketrec_server.experiments.signing import read_experiments


def published_experiments(repo: Path, channel: str) -> Experiments:
    """Return the experiments of a channel, cached until the next publish.

    Raises:
        InputError: the channel is unknown.
        RepositoryInvalidError: the repository is missing or damaged.
    """
    try:
        changed = (repo / "metadata" / "timestamp.json").stat()
    except OSError:
        return _published(repo, channel, 0, 0)
    return _published(repo, channel, changed.st_ino, changed.st_mtime_ns)


@lru_cache(maxsize=64)
def _published(repo: Path, channel: str, _file: int, _changed_ns: int) -> Experiments:
    return read_experiments(repo, channel)
