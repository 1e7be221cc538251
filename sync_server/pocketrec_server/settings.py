"""What a server is told: by options of `pocketrec serve`, or by environment variables."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pocketrec_bundle.errors import InputError
from pocketrec_server.events.rate_limit import LIMITS, Limits
from pocketrec_server.events.uploads import MAX_EVENTS
from pocketrec_server.repository.place import check_served


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Of one server; all its workers have the same.

    Attributes:
        repo: what `publish` writes; may still be empty.
        database_url: SQLAlchemy URL; "" is SQLite beside the repository.
        keys: folder of the keys that the server may use; None: it can sign nothing.
        blobs_url: where targets lie if not here, such as a bucket behind a CDN; "": here.
        behind_proxy: believe the address and scheme that one proxy in front adds.
        log_requests: one JSON line a request on stderr.
        limits: of what one install, one network and all may send.
    """

    repo: Path
    database_url: str = ""
    keys: Path | None = None
    blobs_url: str = ""
    behind_proxy: bool = False
    log_requests: bool = True
    limits: Limits = LIMITS


def from_environment(environ: Mapping[str, str]) -> Settings:
    """Read the variables that `pocketrec_server.wsgi` is configured by.

    Raises:
        InputError: POCKETREC_REPO is not set or names no repository or empty folder, or a number is
            none.
    """
    repo = environ.get("POCKETREC_REPO")
    if not repo:
        raise InputError("POCKETREC_REPO is not set. Set it to the folder that `publish` writes.")
    keys = environ.get("POCKETREC_SERVER_KEYS")
    check_served(Path(repo))
    return Settings(
        repo=Path(repo),
        database_url=environ.get("POCKETREC_DATABASE", ""),
        keys=Path(keys) if keys else None,
        blobs_url=environ.get("POCKETREC_BLOBS_URL", ""),
        behind_proxy=environ.get("POCKETREC_BEHIND_PROXY") == "1",
        log_requests=environ.get("POCKETREC_LOG_REQUESTS") != "0",
        limits=Limits(
            per_minute=_number(environ, "POCKETREC_UPLOADS_PER_MINUTE", 1, LIMITS.per_minute),
            day_events=_number(environ, "POCKETREC_EVENTS_PER_DAY", MAX_EVENTS, LIMITS.day_events),
            network_hour_events=_number(
                environ,
                "POCKETREC_NETWORK_EVENTS_PER_HOUR",
                MAX_EVENTS,
                LIMITS.network_hour_events,
            ),
            all_day_events=_number(
                environ, "POCKETREC_ALL_EVENTS_PER_DAY", MAX_EVENTS, LIMITS.all_day_events
            ),
        ),
    )


def _number(environ: Mapping[str, str], name: str, least: int, default: int) -> int:
    text = environ.get(name) or str(default)
    if not text.isdecimal() or int(text) < least:
        raise InputError(f"{name} is {text!r}. Set it to a number from {least} on.")
    return int(text)
