"""What ended each stage of a training, in words, from `train_report.json`.

Reports of earlier versions lack the keys; of those nothing is said.
"""

from collections.abc import Mapping
from typing import Any


def stopped_told(report: Mapping[str, Any]) -> str:
    """Say of both stages how many epochs ran and what ended them."""
    if "retrieval_stopped_by" not in report:
        return ""
    ran = len(report["ranker_losses"])
    return (
        f"two-tower: {report['epochs']} of {report['epochs_planned']} epochs, stopped by "
        f"{report['retrieval_stopped_by']}; ranker: {ran} of {report['ranker_epochs_planned']} "
        f"epochs, stopped by {report['ranker_stopped_by']}"
    )


def final_told(report: Mapping[str, Any]) -> str:
    """Say how the final fit was made; empty without one."""
    final = report.get("final")
    if not final:
        return ""
    ranker = (
        f"ranker {final['ranker_epochs']} epochs on {final['ranker_lists']:,} lists"
        if final["ranker_lists"]
        else "ranker of the evaluation fit"
    )
    return (
        f"final fit, which ships: learned from all events, with {final['new_items']:,} items that "
        f"the evaluation fit never saw; two-tower {final['epochs']} of {final['epochs_planned']} "
        f"epochs, stopped by {final['retrieval_stopped_by']}; {ranker}"
    )


def cap_warning(report: Mapping[str, Any]) -> str:
    """Warn of a training that a cap cut short; empty if none did."""
    if report.get("reproducible", True):
        return ""
    told = "; ".join(text for text in (stopped_told(report), final_told(report)) if text)
    return (
        f"a cap cut this training short ({told}). It is not reproducible: how far "
        "it came depends on the machine and its load. Set retrieval.minutes = 0 and "
        "ranker.minutes = 0, and leave --minutes out, so that seed and data alone decide."
    )
