"""Write the dashboard and the alert rules that come with the server."""

from importlib.resources import files
from pathlib import Path

from pocketrec_bundle.disk.files import check_free, write_atomic

ALERTS, DASHBOARD, EXAMPLE = NAMES = (
    "pocketrec-alerts.yaml",
    "pocketrec-dashboard.json",
    "prometheus.yaml",
)


def content_of(name: str) -> bytes:
    """Return the content of a file of `NAMES`.

    Example:
        >>> content_of(ALERTS).decode().count("- alert:") > 10
        True
    """
    return files("pocketrec_server.monitoring").joinpath("assets", name).read_bytes()


def write_files(out: Path, *, force: bool = False) -> list[Path]:
    """Write all files of `NAMES` into a folder, each atomically; return their paths.

    Args:
        out: the folder; made if it does not exist.
        force: replace existing files.

    Raises:
        InputError: a file exists already; nothing was written.
        PocketRecError: the disk is full.
    """
    paths = [out / name for name in NAMES]
    for path in paths:
        check_free(path, force=force)
    out.mkdir(parents=True, exist_ok=True)
    for path in paths:
        write_atomic(path, content_of(path.name))
    return paths
