"""Settings of a server, from the options of `pocketrec serve` or from environment variables."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pocketrec_bundle.errors import InputError
from pocketrec_server.events.rate_limit import LIMITS, Limits
from pocketrec_server.events.uploads import MAX_EVENTS
from pocketrec_server.notifications import settings as notifications
from pocketrec_server.notifications.settings import Notifications
from pocketrec_server.repository.place import check_served


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Settings of one server and all its workers.

    Attributes:
        repo: folder of the repository; may still be empty.
        database_url: SQLAlchemy URL; "": SQLite in the repository.
        keys: folder of the server's keys; None: the server cannot sign.
        blobs_url: server of the targets, e.g. a bucket behind a CDN; "": this server.
        behind_proxy: trust the client address and scheme that one proxy in front adds.
        log_requests: log one JSON line per request on stderr.
        limits: limits of uploads and events.
        notifications: whom to notify; None: nobody.

    Example:
        >>> settings = Settings(repo=Path("repo"), behind_proxy=True)
        >>> settings.database_url, settings.limits == LIMITS
        ('', True)
    """

    repo: Path
    database_url: str = ""
    keys: Path | None = None
    blobs_url: str = ""
    behind_proxy: bool = False
    log_requests: bool = True
    limits: Limits = LIMITS
    notifications: Notifications | None = None


def from_environment(environ: Mapping[str, str]) -> Settings:
    """Read the settings of `pocketrec_server.wsgi` from environment variables.

    Raises:
        InputError: POCKETREC_REPO is not set, or is not a repository or an empty folder; or a
            variable is not a valid number.
    """
    repo = environ.get("POCKETREC_REPO")
    if not repo:
        raise InputError("POCKETREC_REPO is not set. Set it to the folder of the repository.")
    keys = environ.get("POCKETREC_SERVER_KEYS")
    check_served(Path(repo))
    notify = environ.get("POCKETREC_NOTIFICATIONS")
    return Settings(
        repo=Path(repo),
        database_url=environ.get("POCKETREC_DATABASE", ""),
        keys=Path(keys) if keys else None,
        blobs_url=environ.get("POCKETREC_BLOBS_URL", ""),
        behind_proxy=environ.get("POCKETREC_BEHIND_PROXY") == "1",
        log_requests=environ.get("POCKETREC_LOG_REQUESTS") != "0",
        notifications=notifications.read(Path(notify), environ) if notify else None,
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
        raise InputError(f"{name} is {text!r}. Set it to a number of at least {least}.")
    return int(text)
