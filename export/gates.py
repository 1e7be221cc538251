"""Which file each target gets: the smallest pair of models within all of the recipe's budgets.

Pure decisions over figures; `export/measure.py` measures files, `export/quality.py` pairs.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from edge_runtime.engines import is_older
from export.measure import FileFigures
from export.targets import ENGINE_OF
from training.recipe import Target

OLDEST = {"legacy": "2.14.0"}
"""The last tflite-runtime there was (2023); apps of that time carry runtimes like it."""

EXACT = "fp32"
TARGETS = tuple(ENGINE_OF)
"""In the order in which targets say what an engine runs by default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """A pair of files on the device path beside the fp32 pair; losses are positive where worse."""

    slate_overlap: float
    ndcg_loss: float
    auc_loss: float


@dataclass(frozen=True, slots=True, kw_only=True)
class GateRow:
    """One check: value against limit. model is "both" for a pair, variant then "TOWER + RANKER"."""

    target: str
    model: str
    variant: str
    check: str
    value: float | str
    limit: float | str
    passed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The files of one target; passed is False where none was within the budgets."""

    target: str
    engine: str
    tower: FileFigures
    ranker: FileFigures
    passed: bool
    rows: list[GateRow]


def choose(
    name: str,
    target: Target,
    files: Sequence[FileFigures],
    quality: Callable[[FileFigures, FileFigures], Quality | None],
) -> Choice:
    """Take the smallest pair of files that passes every check; if none does, the most exact pair.

    Args:
        name: of the target.
        target: its budgets.
        files: all that were converted, of any engine.
        quality: measures a pair; asked only for pairs whose files passed alone, smallest first.
            None: there is nothing to measure on.
    """
    engine = engine_of(name, target)
    mine = [file for file in files if file.engine == engine]
    exact = {f.model: f for f in mine if f.variant == EXACT}
    rows: list[GateRow] = []
    good: dict[str, list[FileFigures]] = {"user_tower": [], "ranker": []}
    for file in sorted(mine, key=lambda f: f.bytes):
        checks = _file_rows(name, target, file, exact[file.model])
        rows += checks
        if all(row.passed for row in checks):
            good[file.model].append(file)
    pairs = [(tower, ranker) for tower in good["user_tower"] for ranker in good["ranker"]]
    for tower, ranker in sorted(pairs, key=lambda pair: pair[0].bytes + pair[1].bytes):
        checks = [_size_row(name, target, tower, ranker)]
        if checks[0].passed and (found := quality(tower, ranker)):
            checks += _quality_rows(name, target, tower, ranker, found)
        rows += checks
        if all(row.passed for row in checks):
            return Choice(
                target=name, engine=engine, tower=tower, ranker=ranker, passed=True, rows=rows
            )
        if not checks[0].passed:  # all that follow are larger
            break
    return Choice(
        target=name,
        engine=engine,
        tower=exact["user_tower"],
        ranker=exact["ranker"],
        passed=False,
        rows=rows,
    )


def engine_of(name: str, target: Target) -> str:
    """Runtime of a target: the recipe's, or the usual one of such phones."""
    return ENGINE_OF[name] if target.engine == "auto" else target.engine


def _file_rows(name: str, target: Target, file: FileFigures, exact: FileFigures) -> list[GateRow]:
    def row(check: str, value: float | str, limit: float | str, passed: bool) -> GateRow:
        return GateRow(
            target=name,
            model=file.model,
            variant=file.variant,
            check=check,
            value=value,
            limit=limit,
            passed=passed,
        )

    if file.note:
        return [row("runs", file.note, "finite numbers", False)]
    rows = []
    oldest = OLDEST.get(name, "") if target.runtime == "auto" else target.runtime
    if oldest:
        known = bool(file.min_runtime)
        fits = known and not is_older(oldest, file.min_runtime)
        rows.append(row("least runtime", file.min_runtime or "unknown", oldest, fits))
    if file.model == "user_tower":
        rows.append(row("cosine", file.cosine, target.cosine, file.cosine >= target.cosine))
        rows.append(row("overlap", file.overlap, target.overlap, file.overlap >= target.overlap))
    else:
        found, least = file.rank_correlation, target.rank_correlation
        rows.append(row("rank correlation", found, least, found >= least))
    ratio = file.ms / max(exact.ms, 1e-6)
    rows.append(row("latency ratio", ratio, target.latency_ratio, ratio <= target.latency_ratio))
    return rows


def _pair_row(
    name: str,
    pair: tuple[FileFigures, FileFigures],
    check: str,
    value: float,
    limit: float,
    passed: bool,
) -> GateRow:
    return GateRow(
        target=name,
        model="both",
        variant=" + ".join(file.variant for file in pair),
        check=check,
        value=value,
        limit=limit,
        passed=passed,
    )


def _size_row(name: str, target: Target, tower: FileFigures, ranker: FileFigures) -> GateRow:
    size = tower.bytes + ranker.bytes
    return _pair_row(
        name, (tower, ranker), "bytes", size, target.models_bytes, size <= target.models_bytes
    )


def _quality_rows(
    name: str, target: Target, tower: FileFigures, ranker: FileFigures, found: Quality
) -> list[GateRow]:
    pair = (tower, ranker)
    return [
        _pair_row(
            name,
            pair,
            "slate overlap",
            found.slate_overlap,
            target.slate_overlap,
            found.slate_overlap >= target.slate_overlap,
        ),
        _pair_row(
            name,
            pair,
            "NDCG@10 loss",
            found.ndcg_loss,
            target.ndcg_loss,
            found.ndcg_loss <= target.ndcg_loss,
        ),
        _pair_row(
            name,
            pair,
            "AUC loss",
            found.auc_loss,
            target.auc_loss,
            found.auc_loss <= target.auc_loss,
        ),
    ]


def table(choices: Sequence[Choice]) -> str:
    """Tell what failed by how much, one line a check, for the error of a refused export."""
    lines = [f"{'target':<9}{'model':<12}{'variant':<20}{'check':<17}{'found':>12}{'limit':>12}"]
    lines += [
        f"{row.target:<9}{row.model:<12}{row.variant:<20}{row.check:<17}"
        f"{shown(row.value):>12}{shown(row.limit):>12}"
        for choice in choices
        for row in choice.rows
        if not choice.passed and not row.passed
    ]
    return "\n".join(lines)


def shown(value: float | str) -> str:
    """A value for a table: counts in full, shares in four digits."""
    if isinstance(value, str):
        return value
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.5g}"


def targets_of(choices: Sequence[Choice]) -> Mapping[tuple[str, str, str], list[str]]:
    """Which targets ship a file, by (model, engine, variant); files that no target ships lack."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for choice in choices:
        for file in (choice.tower, choice.ranker):
            found.setdefault((file.model, file.engine, file.variant), []).append(choice.target)
    return found
