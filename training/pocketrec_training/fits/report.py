"""How a training went: one report a fit, saved as `train_report.json` in its folder."""

from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from pocketrec_training.monitoring.counted_time import StoppedBy
from pocketrec_training.ranker.gain import RankerGain
from pocketrec_training.ranker.leakage import LeakCheck
from pocketrec_training.ranker.objectives import ObjectiveFacts
from pocketrec_training.warm_start.align import Alignment


@dataclass(frozen=True, slots=True, kw_only=True)
class FinalReport:
    """The final fit, which learns from all events and ships; it has no figures of quality.

    Attributes:
        epochs: of the two towers, out of `epochs_planned`.
        retrieval_stopped_by: "epochs", or "minutes" if the cap cut it.
        losses: of the towers, an epoch.
        ranker_lists: lists that the ranker learned from; 0 if it is the evaluation fit's ranker.
        ranker_epochs: that the evaluation fit chose.
        new_items: items whose first event is later than the evaluation fit's training events.
        alignment: how far items moved from the evaluation fit, in whose space the ranker learned.
        reproducible: no cap cut it.
        last_ts: newest event, unix seconds.
    """

    epochs: int
    epochs_planned: int
    retrieval_stopped_by: StoppedBy
    losses: list[float]
    ranker_lists: int
    ranker_epochs: int
    new_items: int
    alignment: Alignment
    reproducible: bool
    retrieval_s: float
    ranker_s: float
    last_ts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainReport:
    """How training went; saved as `train_report.json`.

    Attributes:
        epochs: of the two towers that ran, out of `epochs_planned`.
        retrieval_stopped_by: "epochs" if all ran, "patience" (early stopping) or "minutes" (cap).
        valid_ndcg10: of the evaluation fit's towers, over all validation cases; `pocketrec
            evaluate --split valid` reports the same number.
        curve: loss and ndcg10 an epoch, the latter over `retrieval.validate_users` cases.
        ranker_losses: an epoch of the fit that chose `ranker_epochs`, out of
            `ranker_epochs_planned`.
        ranker_stopped_by: what ended that fit, "epochs" or "minutes".
        ranker_gain: over retrieval's order, on lists not learned from.
        reproducible: no cap cut a stage of either fit, so seed and data alone decide.
        tied_last_share: see `pocketrec_training.data.splits.check`.
        leak_check: which of the ranker's features were tried with another future.
        alignment: how far items moved, after a warm start.
        final: the fit that ships; None with `--no-final`.
        objectives: what the training events have for each objective.
        neighbour_choice: what `neighbours.kind = "auto"` chose, in a sentence; "" without it.

    Example:
        >>> from pocketrec_training.run_folder import RunFolder
        >>> report = RunFolder(Path("run")).read_report()
        >>> {"epochs", "valid_ndcg10", "ranker_gain"} <= report.keys()
        True
    """

    recipe: str
    seed: int
    epochs: int
    epochs_planned: int
    retrieval_stopped_by: StoppedBy
    valid_ndcg10: float
    curve: list[dict[str, float]]
    ranker_losses: list[float]
    ranker_epochs: int
    ranker_epochs_planned: int
    ranker_stopped_by: StoppedBy
    ranker_gain: RankerGain
    ranker_gain_sentence: str
    reproducible: bool
    tied_last_share: dict[str, float]
    retrieval_s: float
    ranker_s: float
    user_tower_parameters: int
    ranker_parameters: int
    last_ts: int
    leak_check: LeakCheck
    alignment: Alignment | None = None
    final: FinalReport | None = None
    neighbour_choice: str = ""
    objectives: tuple[ObjectiveFacts, ...] = ()


def read_report(path: Path) -> TrainReport:
    """Read the report of an interrupted training.

    Raises:
        OSError, ValueError: it is missing or damaged.
    """
    return TypeAdapter(TrainReport).validate_json(path.read_bytes())
