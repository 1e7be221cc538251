"""Child process of `fuzz-bundle`: judge cases one by one, within limits that end it if need be.

Run as `python -m benchmarks.support.children.fuzz WORK SEED FROM TO`; prints `READY`, then one
JSON object a case. WORK has the sound bundle of each format version in `base-VERSION`.
"""

import json
import os
import resource
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.support.bundle_answers import answers, serve
from benchmarks.support.mutations import MUTATORS, Base, Mutant, mutant
from pocketrec_bundle.errors import BundleInvalidError
from pocketrec_bundle.reader import open_bundle

CASE_S, CASE_WALL_S = 5.0, 120.0
"""A case that takes longer ends the process, by a signal that no code in it can hold up.

Seconds of the processor, so that a busy machine changes nothing; waiting is limited by the clock.
"""
ADDRESS_SPACE_MIB = 1024
"""More than this, libraries and their stacks included, is a MemoryError."""
LONGEST_REASON = 1000
READY = "ready"
VERSIONS = (3, 2, 1)


@dataclass(frozen=True, slots=True)
class Sound:
    """The sound bundle of a format version: its folder, what it answers, and a folder for cases."""

    base: Base
    base_dir: Path
    scratch: Path
    expected: str

    @classmethod
    def of(cls, work: Path, version: int) -> "Sound":
        """Open and read it, and lay the folder for cases out."""
        base_dir, scratch = work / f"base-{version}", work / f"case-{version}"
        shutil.rmtree(scratch, ignore_errors=True)
        shutil.copytree(base_dir, scratch, copy_function=os.link)
        return cls(Base.read(base_dir), base_dir, scratch, answers(open_bundle(base_dir)))


def main(work: Path, seed: int, start: int, stop: int) -> None:
    """Judge the cases `start` to `stop` - 1, once the sound bundles have been opened and read."""
    limit = ADDRESS_SPACE_MIB << 20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    sound = {version: Sound.of(work, version) for version in VERSIONS}
    print(READY, flush=True)
    for number in range(start, stop):
        of = sound[version_of(number)]
        kind, made = mutant(of.base, seed, number)
        with placed(made, of.scratch, of.base_dir):
            limit_case(CASE_S, CASE_WALL_S)
            outcome, detail = judge(of.scratch, of.expected)
            limit_case(0, 0)
        told = {"kind": kind, "outcome": outcome, "detail": detail, "peak_mib": peak_mib()}
        print(json.dumps(told), flush=True)


def version_of(number: int) -> int:
    """Format version of a case: every mutation of one, then every one of the next."""
    return VERSIONS[number // len(MUTATORS) % len(VERSIONS)]


def limit_case(processor_s: float, wall_s: float) -> None:
    """Start the two alarms, or stop them with zeros."""
    signal.setitimer(signal.ITIMER_PROF, processor_s)
    signal.setitimer(signal.ITIMER_REAL, wall_s)


def judge(folder: Path, expected: str) -> tuple[str, str]:
    """Open a bundle and take from it what a device takes: outcome, and reason or error."""
    try:
        try:
            bundle = open_bundle(folder)
            found = answers(bundle)
        except BundleInvalidError as err:
            if not 0 < len(str(err)) <= LONGEST_REASON:
                return "crash", f"a reason of {len(str(err))} characters"
            return "refused", str(err)
        if found == expected:
            return "accepted_equal", ""
        serve(bundle)
    except Exception as err:  # noqa: BLE001  # whatever else comes out is what is looked for
        frame = err.__traceback__
        while frame is not None and frame.tb_next is not None:
            frame = frame.tb_next
        where = f"{frame.tb_frame.f_code.co_name}:{frame.tb_lineno}" if frame else "?"
        return "crash", f"{type(err).__name__} in {where}: {str(err)[:200]}"
    return "accepted_other", ""


@contextmanager
def placed(made: Mutant, folder: Path, base_dir: Path) -> Iterator[None]:
    """Make the folder that bundle, and the base again afterwards; only what differs is written."""
    files = {f"files/{name}": data for name, data in made.blobs.items()}
    files["manifest.json"] = made.manifest
    try:
        for name, data in files.items():
            (folder / name).unlink(missing_ok=True)  # it may be a link to the base's file
            (folder / name).write_bytes(data)
        if made.odd is not None:
            files[made.odd[0]] = b""
            place_odd(folder / made.odd[0], made.odd[1], folder)
        yield
    finally:
        for name in files:
            path = folder / name
            if path.is_dir() and not path.is_symlink():
                path.rmdir()
            path.unlink(missing_ok=True)
            if (base_dir / name).exists():
                os.link(base_dir / name, path)


def place_odd(path: Path, what: str, folder: Path) -> None:
    """Replace a file by something else, e.g. a directory."""
    path.unlink(missing_ok=True)
    if what == "directory":
        path.mkdir()
    elif what == "fifo":
        os.mkfifo(path)
    elif what == "link_to_zero":
        path.symlink_to("/dev/zero")
    elif what == "link_loop":
        path.symlink_to(path.name)
    elif what == "link_to_manifest":
        path.symlink_to((folder / "manifest.json").resolve())


def peak_mib() -> float:
    """Largest resident memory of this process so far."""
    status = Path("/proc/self/status")
    if status.exists():  # getrusage counts what the parent held when it started this process
        line = next(x for x in status.read_text().splitlines() if x.startswith("VmHWM"))
        return float(line.split()[1]) / 1024
    unit = 1 << 20 if sys.platform == "darwin" else 1 << 10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:5]))
