"""Export releases of sums to JSON files, for `pocketrec experiment report --sums`.

Files: `<out>/<channel>/<experiment>/<salt>/day=2026-05-01.json`, the first 8 digits of the salt.
"""

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine

from pocketrec_bundle.disk.files import write_atomic
from pocketrec_server.events.export import day_name
from pocketrec_server.sums.release import LEAST_K, release, runs, stored_releases

_SALT_DIGITS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class SumsExport:
    """Result of an export.

    Attributes:
        experiments: experiments of which devices sent sums.
        written: files that were new or different.
        kept: files that did not change.
        hidden: arms of today's releases with fewer devices than k.
        other_settings: experiments whose release of today was made with another k or epsilon.
    """

    experiments: int
    written: int
    kept: int
    hidden: int
    other_settings: int


def export_sums(
    engine: Engine, out: Path, *, now: float, k: int = LEAST_K, epsilon: float | None = None
) -> SumsExport:
    """Make today's releases, and write all stored releases that the folder lacks.

    Args:
        engine: the database.
        out: output folder; created if missing.
        now: current time, unix seconds.
        k: devices that an arm must have.
        epsilon: of the noise, for each metric and day; None: no noise.

    Raises:
        ValueError: k or epsilon is out of its range.
        SQLAlchemyError: the database failed.
        PocketRecError: a file cannot be written.
    """
    found = runs(engine)
    made = [release(engine, run, now=now, k=k, epsilon=epsilon) for run in found]
    written = kept = 0
    for run, day, text in stored_releases(engine):
        folder = out / run.channel / run.experiment / run.salt[:_SALT_DIGITS]
        path = folder / f"day={day_name(day)}.json"
        if path.exists() and path.read_text("utf-8") == text:
            kept += 1
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, text.encode())
        written += 1
    return SumsExport(
        experiments=len(found),
        written=written,
        kept=kept,
        hidden=sum(arm is None for one in made for arm in one["arms"].values()),
        other_settings=sum((one["k"], one["epsilon"]) != (k, epsilon) for one in made),
    )
