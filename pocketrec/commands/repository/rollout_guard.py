"""`pocketrec rollout guard`: when a release is halted because it is worse than earlier ones."""

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pocketrec.commands.repository.keys_options import BY, KEYS, REASON, REPO, note_of
from pocketrec.commands.repository.rollout_options import CHANNEL, JSON, signers_of
from pocketrec.finite import FiniteRange

if TYPE_CHECKING:
    from pocketrec_bundle.settings.release_guardrails import ReleaseGuardrails

METRICS = ("conversion", "ctr", "slate_ms", "fallback_share", "failures")


@click.command(
    epilog="Example: pocketrec rollout guard --metric ctr --worse-by 0.05 --alpha 0.01"
    " --repo work/repo --keys work/keys"
)
@click.option("--metric", type=click.Choice(METRICS), help="Metric to compare.")
@click.option(
    "--worse-by",
    type=FiniteRange(0, 10),
    help="Tolerated change for the worse; 0.05 is 5% of the value of earlier releases.",
)
@click.option(
    "--alpha",
    type=FiniteRange(0.0001, 0.2),
    default=0.01,
    show_default=True,
    help="Probability of a false halt over a whole rollout.",
)
@click.option(
    "--days", type=click.IntRange(1, 365), help="Daily looks at each stage.  [default: 14]"
)
@click.option(
    "--remove",
    "removed",
    type=click.Choice(METRICS),
    multiple=True,
    help="Remove the limit of a metric; repeatable.",
)
@REPO
@KEYS
@CHANNEL
@BY
@REASON
@JSON
def guard(
    metric: str | None,
    worse_by: float | None,
    alpha: float,
    days: int | None,
    removed: tuple[str, ...],
    repo: Path,
    keys: tuple[Path, ...],
    channel: str,
    by: str | None,
    reason: str,
    as_json: bool,
) -> None:
    """Halt new releases of a channel that are worse than its earlier ones; print the limits.

    A server with the brake's key compares a release with earlier ones once a day, while the release
    is offered to some devices and not to others. A limit replaces that of the same metric.
    """
    from pocketrec_bundle.settings.experiment_arms import Guardrail
    from pocketrec_server.halting import release_limits as limits

    if (metric is None) != (worse_by is None):
        raise click.UsageError("--metric and --worse-by belong together.")
    note = note_of(by, reason)

    def change(before: "ReleaseGuardrails") -> "ReleaseGuardrails":
        after = limits.without(before, removed)
        if metric is not None and worse_by is not None:
            added = Guardrail(metric=metric, worse_by=worse_by, alpha=alpha)
            after = limits.with_guardrail(after, added)
        return after if days is None else replace(after, days=days)

    if metric is None and days is None and not removed:
        found = limits.read_guardrails(repo, channel)
    else:
        found = limits.change_guardrails(repo, signers_of(repo, keys), channel, change, note)
    click.echo(json.dumps(_facts(found)) if as_json else f"{channel}: {limits.text_of(found)}")


def _facts(found: "ReleaseGuardrails") -> dict[str, Any]:
    facts: dict[str, Any] = json.loads(found.to_bytes())
    return facts
