"""Claim: a client with any of these faults fails the golden vectors of a release.

Each line of `golden_faults.txt` changes one place of the Python reader, as a client in another
language may get it wrong. The changed reader then replays the golden vectors that the sound one
recorded for the tiny bundle. `requests`: found by `golden.json` and the files `golden/STAGE` alone,
which hold histories of users; `all`: with `golden_edges.json`, `golden_rules.json` and
`golden_features.json`. The tiny bundle is of the newest format version.
"""

import importlib
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.harness import Cell, Options, Result
from pocketrec_bundle.errors import PocketRecError
from pocketrec_bundle.golden.vectors import Golden
from pocketrec_bundle.manifest import FORMAT_VERSION
from pocketrec_bundle.reader import open_bundle
from pocketrec_edge.engines.select import MODELS, Engine, open_model
from pocketrec_edge.recommend.pipeline import Recommender
from pocketrec_edge.releases.selftest import replay_requests
from pocketrec_edge.releases.stages import check_cases, check_stages, read_stages
from pocketrec_export.conformance.tiny_bundle import write_tiny_bundle

ROOT = Path(__file__).parents[2]
FAULTS = Path(__file__).with_name("golden_faults.txt")
ENGINE = "onnx"


class FaultyListError(PocketRecError):
    """A line of the list does not fit the reader's source any more, or changes nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One line: in `file` the text `old` becomes `new`; wrong: what a client gets wrong."""

    file: str
    old: str
    new: str
    wrong: str


@dataclass(frozen=True, slots=True)
class Sound:
    """The sound release, and its models, which no fault changes."""

    folder: Path
    models: tuple[Engine, Engine]

    @classmethod
    def of(cls, folder: Path) -> "Sound":
        """Open the models of a bundle folder."""
        opened = open_bundle(folder)
        tower, ranker = (open_model(opened, model, ENGINE, None, 1) for model in MODELS)
        return cls(folder, (tower, ranker))


def read_faults(path: Path = FAULTS) -> list[Fault]:
    """Read the list; lines that begin with # are for people.

    Raises:
        FaultyListError: a line is not of its form.
    """
    found = []
    for line in path.read_text().splitlines():
        if not line.strip() or line.startswith("# "):
            continue
        change, mark, wrong = line.partition(" ## ")
        file, colon, texts = change.partition(": ")
        old, arrow, new = texts.partition(" =>")
        if not (mark and colon and arrow):
            raise FaultyListError(f"{path.name}: no 'file: old => new ## wrong': {line}")
        found.append(Fault(file=file, old=old, new=new.removeprefix(" "), wrong=wrong))
    return found


@contextmanager
def applied(fault: Fault) -> Iterator[None]:
    """Run the reader with a fault: the code of what it changes is exchanged, and put back.

    Functions keep their identity, so that modules which imported them by name have the fault too.

    Raises:
        FaultyListError: the old text does not stand exactly once, or nothing changes.
    """
    path = ROOT / fault.file
    source = path.read_text()
    if (n := source.count(fault.old)) != 1:
        raise FaultyListError(f"{fault.file}: {fault.old!r} stands {n} times, not once.")
    module = importlib.import_module(
        fault.file.partition("/")[2].removesuffix(".py").replace("/", ".")
    )
    changed = ModuleType(module.__name__)
    changed.__file__ = str(path)
    code = compile(source.replace(fault.old, fault.new), str(path), "exec")
    exec(code, changed.__dict__)  # noqa: S102  # our own source, one text exchanged
    before, after = functions(module), functions(changed)
    codes = {
        name: before[name].__code__
        for name in before.keys() & after.keys()
        if not same_code(before[name].__code__, after[name].__code__)
    }
    if not codes:
        raise FaultyListError(f"{fault.file}: {fault.old!r} => {fault.new!r} changes no function.")
    try:
        for name in codes:
            before[name].__code__ = after[name].__code__
        yield
    finally:
        for name, sound in codes.items():
            before[name].__code__ = sound


def functions(module: ModuleType) -> dict[str, FunctionType]:
    """All functions and methods that a module defines, by their qualified names."""
    found: dict[str, FunctionType] = {}
    spaces: list[Mapping[str, Any]] = [module.__dict__]
    while spaces:
        for value in list(spaces.pop().values()):
            inner = getattr(value, "__func__", None) or getattr(value, "fget", None) or value
            inner = inner.func if isinstance(inner, cached_property) else inner
            if getattr(inner, "__module__", None) != module.__name__:
                continue
            if isinstance(inner, FunctionType):
                found[inner.__qualname__] = inner
            elif isinstance(inner, type) and inner.__qualname__ not in found:
                spaces.append(inner.__dict__)
    return found


def same_code(one: CodeType, two: CodeType) -> bool:
    """Whether two functions do the same, wherever their lines are."""
    constants = zip(one.co_consts, two.co_consts, strict=False)
    return (
        one.co_code == two.co_code
        and one.co_names == two.co_names
        and len(one.co_consts) == len(two.co_consts)
        and all(
            same_code(a, b) if isinstance(a, CodeType) and isinstance(b, CodeType) else a == b
            for a, b in constants
        )
    )


def failing(sound: Sound) -> tuple[list[str], list[str]]:
    """Replay all golden vectors with the reader as it is now.

    Returns:
        Stages of the requests that differ, and all stages that do; "error" where it breaks.
    """
    requests, others = [], []
    device: Recommender | None = None
    try:
        device = Recommender(open_bundle(sound.folder, verify=False), ENGINE, models=sound.models)
        golden = Golden.of(device.bundle)
        expected = read_stages(device.bundle, golden)
        assert expected is not None
        checks = check_stages(device, golden, expected)
        requests = [check.stage for check in checks if not check.passed]
        replay_requests(device, golden)
    except Exception as err:  # noqa: BLE001  # a fault may break anything, and that is found too
        requests.append("request" if isinstance(err, PocketRecError) else "error")
    try:
        assert device is not None
        others = [check.stage for check in check_cases(device) if not check.passed]
    except Exception:  # noqa: BLE001
        others.append("error")
    return requests, requests + others


def run(options: Options) -> Result:
    """Try every fault; prints the table."""
    options.work.mkdir(parents=True, exist_ok=True)
    folder = options.work / "golden-mutations"
    write_tiny_bundle(folder, FORMAT_VERSION, answers=True)
    sound = Sound.of(folder)
    if found := failing(sound)[1]:
        raise FaultyListError(f"the sound reader fails its own golden vectors: {', '.join(found)}")
    rows: list[dict[str, Cell]] = []
    for fault in read_faults():
        with applied(fault):
            requests, stages = failing(sound)
        rows.append(
            {
                "fault": fault.wrong,
                "file": fault.file,
                "requests": bool(requests),
                "all": bool(stages),
                "first": stages[0] if stages else "",
            }
        )
    show(rows)
    figures = {
        "faults": len(rows),
        "caught": sum(bool(row["all"]) for row in rows),
        "caught_by_requests_alone": sum(bool(row["requests"]) for row in rows),
    }
    return Result(name="golden-mutations", seed=options.seed, rows=rows, figures=figures)


def show(rows: list[dict[str, Cell]]) -> None:
    """Print the table."""
    table = Table(title="golden-mutations: faults found", title_justify="left")
    for name in ("fault", "requests", "all", "first stage"):
        table.add_column(name)
    for row in rows:
        told = ("yes" if row[key] else "no" for key in ("requests", "all"))
        table.add_row(str(row["fault"]), *told, str(row["first"]))
    Console(file=sys.stdout, width=160).print(table)
