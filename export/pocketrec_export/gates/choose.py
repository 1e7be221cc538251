"""Choose the files of each target: the smallest pair of models within the recipe's limits.

Pure decisions over figures; `pocketrec_export.gates.measure` measures files,
`pocketrec_export.gates.quality` pairs, `pocketrec_export.gates.checks` holds the checks.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from pocketrec_export.gates.checks import Measures, Pair, Rules
from pocketrec_export.gates.measure import FileFigures
from pocketrec_export.gates.rows import GateRow
from pocketrec_export.targets import ENGINE_OF
from pocketrec_training.recipe.schema import Target

EXACT = "fp32"
TARGETS = tuple(ENGINE_OF)
"""In the order in which targets say what an engine runs by default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The files of one target.

    Attributes:
        passed: False if no pair was within the limits.
        warned: a loss of the pair exceeds its limit, but the difference is not significant.
        rows: all checks, also those of smaller pairs.
    """

    target: str
    engine: str
    tower: FileFigures
    ranker: FileFigures
    passed: bool
    warned: bool
    rows: list[GateRow]


def choose(
    name: str,
    target: Target,
    files: Sequence[FileFigures],
    measures: Measures,
    tower: FileFigures | None = None,
) -> Choice:
    """Choose the smallest pair that passes every check, without a warning of its model files.

    If no pair passes, choose the smallest that no check refuses, and else the exact pair.

    Two warnings never decide. The item index costs the same with every pair, so larger files do not
    help. Time is not reproducible, and a busy machine must not change the bundle.

    Args:
        name: of the target.
        target: its budgets.
        files: all that were converted, of any engine.
        measures: asked of as few files and pairs as will do, smallest first.
        tower: the user tower of the target, chosen before; None: choose one.
    """
    engine = engine_of(name, target)
    mine = [file for file in files if file.engine == engine]
    if tower is not None:
        mine = [tower, *(file for file in mine if file.model == "ranker")]
    rules = Rules(name=name, target=target, measures=measures)
    rows = [rules.runs(file) for file in mine if file.note]
    chosen, warned = _smallest(_pairs(mine), rules, rows)
    exact = {file.model: file for file in mine if file.variant == EXACT}
    pair = chosen or (tower or exact["user_tower"], exact["ranker"])
    return Choice(
        target=name,
        engine=engine,
        tower=pair[0],
        ranker=pair[1],
        passed=chosen is not None,
        warned=warned,
        rows=rows,
    )


def _pairs(files: Sequence[FileFigures]) -> list[Pair]:
    """Return all pairs of files that run, smallest first."""
    towers, rankers = (
        sorted((f for f in files if f.model == model and not f.note), key=lambda f: f.bytes)
        for model in ("user_tower", "ranker")
    )
    pairs = [(tower, ranker) for tower in towers for ranker in rankers]
    return sorted(pairs, key=lambda pair: pair[0].bytes + pair[1].bytes)


def _smallest(pairs: list[Pair], rules: Rules, rows: list[GateRow]) -> tuple[Pair | None, bool]:
    """Return the pair to ship and whether its quality is warned of; add the checks to `rows`."""
    refused: set[tuple[str, str]] = set()
    checked: set[tuple[str, str, str]] = set()

    def fits(file: FileFigures, check: Callable[[FileFigures], Iterable[GateRow]]) -> bool:
        """Make each check of a file once."""
        me = (file.model, file.variant)
        if (*me, check.__name__) not in checked:
            checked.add((*me, check.__name__))
            found = list(check(file))
            rows.extend(found)
            if not all(row.passed for row in found):
                refused.add(me)
        return me not in refused

    warned: Pair | None = None
    for pair in pairs:
        if any((file.model, file.variant) in refused for file in pair):
            continue
        size = rules.size(pair)
        if not size.passed:  # all that follow are larger
            rows.append(size)
            break
        checks = (rules.figures, rules.time)  # what is known of both before the time of either
        if not all(fits(file, check) for check in checks for file in pair):
            continue
        found = list(rules.quality(pair))
        rows += [size, *found]
        if not all(row.passed for row in found):
            continue
        if not any(row.warned and not row.of_index for row in found):
            return pair, any(row.warned for row in found)
        warned = warned or pair
    return warned, warned is not None


def engine_of(name: str, target: Target) -> str:
    """Return the engine of a target: the recipe's, or the usual one of such phones."""
    return ENGINE_OF[name] if target.engine == "auto" else target.engine


def targets_of(choices: Sequence[Choice]) -> Mapping[tuple[str, str, str], list[str]]:
    """Which targets ship a file, by (model, engine, variant); files that no target ships lack."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for choice in choices:
        for file in (choice.tower, choice.ranker):
            found.setdefault((file.model, file.engine, file.variant), []).append(choice.target)
    return found
