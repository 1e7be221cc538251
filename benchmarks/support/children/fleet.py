"""Child process of `fleet`: syncs its share of the devices, several at a time.

Run as `python -m benchmarks.support.children.fleet JOB`, a JSON object as `Job` has it; prints one
JSON object a device, and last the process's peak memory.
"""

import json
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from pocketrec_bundle.errors import PocketRecError
from pocketrec_edge.sync.client import sync
from pocketrec_edge.sync.transfer import Retry


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """The work of one child process.

    homes: folder of the devices' homes; first, stop: numbers of its devices; url, root: as for
    `sync`; tries: syncs that a device may need; at_once: devices at a time.
    """

    homes: str
    first: int
    stop: int
    url: str
    root: str
    tries: int
    at_once: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Synced:
    """How one device fared; bytes and files are those of the sync that succeeded."""

    device: int
    release: str | None
    tries: int
    files: int = 0
    by_delta: int = 0
    bytes_down: int = 0
    seconds: float = 0.0
    error: str = ""


def device(job: Job, number: int) -> Synced:
    """Sync one device until it succeeds or may try no more."""
    # Waits are short: what is measured is bytes and whether it gets there.
    retry, error = Retry(first_s=0.01, most_s=0.1), ""
    home = Path(job.homes) / f"{number:06d}"
    for tries in range(1, job.tries + 1):
        try:
            report = sync(home, job.url, _accept, root_path=Path(job.root), retry=retry)
        except PocketRecError as err:
            error = str(err)
            continue
        return Synced(
            device=number,
            release=report.to_release,
            tries=tries,
            files=report.files_fetched,
            by_delta=report.files_by_delta,
            bytes_down=report.bytes_down,
            seconds=report.seconds,
        )
    return Synced(device=number, release=None, tries=job.tries, error=error)


def _accept(bundle: object) -> None:
    """The drawn release has no models, so there is nothing to replay; its files are hashed."""


def main(job: Job) -> None:
    """Sync all devices of a job."""
    numbers = range(job.first, job.stop)
    with ThreadPoolExecutor(job.at_once) as pool:
        for found in pool.map(lambda number: device(job, number), numbers):
            print(json.dumps(asdict(found)), flush=True)
    print(json.dumps({"peak_mib": peak_mib("self")}), flush=True)


def peak_mib(pid: int | str) -> float:
    """The most memory that a running process has had resident since its exec (Linux)."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) / 1024


if __name__ == "__main__":
    main(Job(**json.loads(sys.argv[1])))
