"""`pocketrec bench`: run one benchmark, or all, and write the figures as JSON."""

import importlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pocketrec.finite import FiniteRange
from pocketrec_bundle.disk.files import write_atomic
from pocketrec_bundle.errors import InputError

if TYPE_CHECKING:
    from benchmarks import Benchmark

ROOT = Path(__file__).parents[3]
NOT_HERE = (
    "the benchmarks are not in the wheel. Run this command in a checkout of the repository, where"
    " `make setup` installed it."
)


def _benchmarks() -> "dict[str, Benchmark]":
    """Return the benchmarks by name; empty where only the wheel is installed."""
    if not (ROOT / "benchmarks" / "harness.py").is_file():
        return {}
    sys.path.insert(0, str(ROOT))  # before any `benchmarks` of the user's folder
    try:
        from benchmarks import BENCHMARKS
    finally:
        sys.path.remove(str(ROOT))
    return BENCHMARKS


BENCHMARKS = _benchmarks()
NAMES = "\n".join(f"  {name:15} {one.claim}" for name, one in BENCHMARKS.items()) or NOT_HERE


@click.command(
    help=f"Run benchmark NAME, or `all` of them.\n\n\b\nNames:\n{NAMES}",
    epilog="Example: pocketrec bench demo --json benchmarks/out/demo.json",
)
@click.argument("name", type=click.Choice([*BENCHMARKS, "all"]) if BENCHMARKS else str)
@click.option(
    "--data",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder with the raw data set; the default fetches it.",
)
@click.option(
    "--minutes",
    type=FiniteRange(min=0, min_open=True),
    help="Stop each training after this time, without set-up and compilation; its figures"
    " then depend on the machine.  [default: no cap but the recipe's]",
)
@click.option(
    "--work",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("benchmarks/out"),
    show_default=True,
    help="Folder for all files of the benchmark.",
)
@click.option(
    "--seed",
    type=click.IntRange(0, 2**32 - 1),
    default=7,
    show_default=True,
    help="Random seed.",
)
@click.option(
    "--only",
    metavar="NAME,NAME",
    default="",
    help="Data sets of `own-data` to run; the others keep their rows in the file of --json."
    "  [default: all]",
)
@click.option(
    "--json",
    "json_path",
    type=click.Path(path_type=Path),
    required=True,
    help="File for the figures; with `all` a folder for one NAME.json each.",
)
def command(
    name: str,
    data: Path | None,
    minutes: float | None,
    work: Path,
    seed: int,
    only: str,
    json_path: Path,
) -> None:
    """Run one benchmark, or all of them; each writes one JSON object."""
    if not BENCHMARKS:
        raise InputError(NOT_HERE)
    if only and not (name in BENCHMARKS and BENCHMARKS[name].in_sets):
        raise InputError(f"--only: {name} runs as a whole. Leave the option out.")
    from benchmarks.harness import Options, document

    for each in BENCHMARKS if name == "all" else (name,):
        module = importlib.import_module(f"benchmarks.{BENCHMARKS[each].module}")
        options = Options(
            work=work / each,
            data=data,
            minutes=minutes,
            seed=seed,
            only=tuple(part for part in only.split(",") if part),
            earlier=json_path if only and json_path.is_file() else None,
        )
        result = module.run(options)
        path = json_path / f"{each}.json" if name == "all" else json_path
        path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(document(result), indent=2, sort_keys=True)
        write_atomic(path, f"{text}\n".encode())
        click.echo(f"figures written to {path}", file=sys.stderr)
