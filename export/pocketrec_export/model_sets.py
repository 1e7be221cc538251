"""Model sets of a release: rankers of other runs, for arms of experiments.

A set shares all else with the release, so its run has the same tables, towers, neighbours and
feature spec, value by value: train it with the same recipe but for [ranker]. Its ranker passes the
same gates, beside the user tower that each target ships.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pocketrec_bundle.encoding.strict_json import matches
from pocketrec_bundle.errors import InputError
from pocketrec_bundle.golden.vectors import GoldenCase
from pocketrec_bundle.neighbours import Neighbours
from pocketrec_bundle.reader import Bundle
from pocketrec_bundle.settings.experiment_arms import SET
from pocketrec_export.gates import choose as gates
from pocketrec_export.gates.checks import Measures
from pocketrec_export.gates.choose import Choice
from pocketrec_export.gates.conversions import convert_and_measure
from pocketrec_export.gates.measure import FileFigures, MeasuredModel
from pocketrec_export.gates.quality import PairQuality
from pocketrec_export.gates.two_fits import quality_of_two_fits
from pocketrec_export.report import ShippedSet, ShippedVariant
from pocketrec_training.data.dataset import load_dataset
from pocketrec_training.recipe.schema import Target
from pocketrec_training.run_folder import Fit
from pocketrec_training.trained import TrainedRun, load_trained

MAX_SETS = 7
"""An experiment has at most eight arms, and one of them can use the release's own ranker."""
_HOW = (
    "Train it on the same tables, with the same recipe and seed but for [ranker], so that only the "
    "ranker differs. Other towers or items need a release of their own, which an arm can name too."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """What all sets of a release share.

    Attributes:
        trained: the fit that ships.
        towers: its measured files; those of the user tower are used.
        choices: its files, by target.
        draft: the release with all but its models.
    """

    trained: TrainedRun
    towers: Sequence[MeasuredModel]
    choices: Sequence[Choice]
    draft: Bundle


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltSet:
    """The rankers of a set, measured and chosen.

    Attributes:
        name: of the set.
        run: its run.
        measured: files of the ranker.
        unmade: variants that could not be made.
        choices: by target; the user tower is the release's.
        note: how its run weighs the heads, if the release does otherwise; else "".
    """

    name: str
    run: Path
    measured: Sequence[MeasuredModel]
    unmade: Sequence[FileFigures]
    choices: Sequence[Choice]
    note: str

    def report(self) -> ShippedSet:
        """Return what the report and the model card say of it."""
        rows = [row for choice in self.choices for row in choice.rows]
        return ShippedSet(
            name=self.name,
            shipped=[ShippedVariant.of(choice) for choice in self.choices],
            files=[*(one.figures for one in self.measured), *self.unmade],
            gates=[row for row in rows if row.model != "user_tower"],
            note=self.note,
        )


def checked_rankers(rankers: Mapping[str, Path]) -> None:
    """Refuse names that no arm can have, and too many sets.

    Raises:
        InputError: a name has another form, or there are too many sets.
    """
    for name in rankers:
        if not matches(SET, name):
            raise InputError(f"model set {name!r}: a name has 1..32 of a-z 0-9 -, as an arm has.")
    if len(rankers) > MAX_SETS:
        raise InputError(f"{len(rankers)} model sets; a release holds at most {MAX_SETS}.")


def build_sets(
    rankers: Mapping[str, Path],
    fit: Fit,
    scratch: Path,
    shared: Shared,
    blank: Sequence[GoldenCase],
) -> list[BuiltSet]:
    """Convert, measure and choose the rankers of all sets.

    Args:
        rankers: runs by the name of the set.
        fit: of the runs.
        scratch: folder for files.
        shared: what the sets share with the release.
        blank: golden requests without answers.

    Raises:
        InputError: a run differs from the release's in more than its ranker.
        RunInvalidError: a run is incomplete, or has no final fit and `fit` asks for it.
        ConversionFailedError: a ranker cannot be converted to fp32.
    """
    return [
        _built(name, run, fit, scratch / name, shared, blank)
        for name, run in sorted(rankers.items())
    ]


def _built(
    name: str, run: Path, fit: Fit, scratch: Path, shared: Shared, blank: Sequence[GoldenCase]
) -> BuiltSet:
    evaluation = load_trained(run)
    log = load_dataset(evaluation.recipe, run)
    fitted = load_trained(run, fit=fit) if fit == "final" else evaluation
    trained, data = fitted.as_released(log)
    check_twin(f"model set {name}: {run}", shared.trained, trained)
    scratch.mkdir()
    measured, unmade = convert_and_measure(scratch, trained, data, shared.draft, ("ranker",))
    towers = [one for one in shared.towers if one.figures.model == "user_tower"]
    quality: Measures = PairQuality(shared.draft, [*towers, *measured], trained, log, blank)
    if data is not log:
        quality = quality_of_two_fits(quality, scratch, evaluation, log)
    files = [*(one.figures for one in measured), *unmade]
    recipe = shared.trained.recipe
    targets: dict[str, Target] = {str(key): one for key, one in recipe.export.targets.items()}
    return BuiltSet(
        name=name,
        run=run,
        measured=measured,
        unmade=unmade,
        choices=[
            gates.choose(own.target, targets[own.target], files, quality, own.tower)
            for own in shared.choices
        ],
        note=_note(shared.trained, trained),
    )


def check_twin(where: str, release: TrainedRun, other: TrainedRun) -> None:
    """Refuse a run that differs from the release's in more than its ranker.

    Raises:
        InputError: tables, spec, towers or neighbours differ; the text names what.
    """
    if differing := list(_differences(release, other)):
        raise InputError(
            f"{where}: differs from the release's run in {', '.join(differing)}. {_HOW}"
        )


def _differences(release: TrainedRun, other: TrainedRun) -> Iterator[str]:
    if release.items.ids != other.items.ids:
        yield "items"
    one, two = asdict(release.spec), asdict(other.spec)
    for key in one:
        if key != "head_weights" and one[key] != two[key]:
            yield f"feature spec: {key}"
    if release.declared != other.declared:
        yield "declared features"
    if release.objectives != other.objectives:
        yield "objectives"
    if not np.array_equal(release.item_vectors, other.item_vectors):
        yield "item vectors"
    if not _are_equal(release.user_tower.get_weights(), other.user_tower.get_weights()):
        yield "user tower"
    if not _are_equal(_parts(release.neighbours), _parts(other.neighbours)):
        yield "neighbours"


def _parts(neighbours: Neighbours | None) -> list[NDArray[Any]]:
    if neighbours is None:
        return []
    return [neighbours.rows, neighbours.weights, neighbours.scales]


def _are_equal(ours: Sequence[NDArray[Any]], theirs: Sequence[NDArray[Any]]) -> bool:
    return len(ours) == len(theirs) and all(map(np.array_equal, ours, theirs))


def _note(release: TrainedRun, other: TrainedRun) -> str:
    if release.spec.head_weights == other.spec.head_weights:
        return ""
    weights = zip(other.spec.heads, other.spec.head_weights, strict=True)
    told = ", ".join(f"{head} = {weight:g}" for head, weight in weights)
    return (
        f"its run weighs the heads otherwise: give the arm head_weights = {{{told}}}, or the "
        "release's weights apply"
    )
