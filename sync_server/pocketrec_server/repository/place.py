"""Which folder may be, or become, a repository: so that a mistyped path changes nothing."""

from pathlib import Path

from pocketrec_bundle.errors import InputError
from pocketrec_server.repository import state
from pocketrec_server.storage.database import FILE_NAME

_OWN = ("metadata", "targets", "history", "lock", "cookie.secret")
_MOST_NAMED = 3


def check_place(repo: Path) -> None:
    """Refuse a folder that holds something else than a repository.

    Raises:
        InputError: it is a file, or holds what no repository does.
    """
    if not repo.exists() or state.exists(repo):
        return
    if not repo.is_dir():
        raise InputError(f"{repo}: is a file. Give --repo the folder of a repository.")
    others = sorted(path.name for path in repo.iterdir() if not _is_own(path.name))
    if others:
        named = ", ".join(others[:_MOST_NAMED]) + (", ..." if len(others) > _MOST_NAMED else "")
        raise InputError(
            f"{repo}: no repository, it holds {named}. Check --repo, or give a new or empty folder "
            "to `pocketrec repo init`."
        )


def check_served(repo: Path) -> None:
    """Refuse a folder that a server cannot serve; one that is empty gets its repository later.

    Raises:
        InputError: there is no such folder, or see `check_place`.
    """
    if not repo.exists():
        raise InputError(
            f"{repo}: no such folder. Check --repo, or make a new repository with `pocketrec repo "
            "init`."
        )
    check_place(repo)


def _is_own(name: str) -> bool:
    """Whether a server or a publisher makes a file of this name before there is metadata."""
    return name in _OWN or name.startswith((FILE_NAME, ".", "lost+found"))
