"""Check that a folder is, or can become, a repository, so that a mistyped path changes nothing."""

from pathlib import Path

from pocketrec_bundle.errors import InputError
from pocketrec_server.repository import state

DATABASE_NAME = "server.sqlite"
"""The server's own database."""
_OWN = ("metadata", "targets", "history", "lock", "cookie.secret")
_MOST_NAMED = 3


def check_place(repo: Path) -> None:
    """Refuse a folder with files that do not belong to a repository.

    Raises:
        InputError: the path is a file, or the folder holds other files.
    """
    if not repo.exists() or state.exists(repo):
        return
    if not repo.is_dir():
        raise InputError(f"{repo}: is a file. Set --repo to the folder of a repository.")
    others = sorted(path.name for path in repo.iterdir() if not _is_own(path.name))
    if others:
        named = ", ".join(others[:_MOST_NAMED]) + (", ..." if len(others) > _MOST_NAMED else "")
        raise InputError(
            f"{repo}: no repository, it holds {named}. Check --repo, or run `pocketrec repo init` "
            "with a new or empty folder."
        )


def check_served(repo: Path) -> None:
    """Refuse a folder that a server cannot serve. An empty folder is accepted.

    Raises:
        InputError: the folder does not exist, or `check_place` refuses it.
    """
    if not repo.exists():
        raise InputError(
            f"{repo}: no such folder. Check --repo, or make a new repository with `pocketrec repo "
            "init`."
        )
    check_place(repo)


def _is_own(name: str) -> bool:
    """Return whether a server or `publish` can create this file before the metadata."""
    return name in _OWN or name.startswith((DATABASE_NAME, ".", "lost+found"))
