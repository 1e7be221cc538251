"""`pocketrec policy-value`: what another release, rules or weights would have earned."""

import json
from pathlib import Path
from typing import Any

import click

from pocketrec.finite import FiniteRange

DAY_S = 24 * 3600


class Weights(click.ParamType[dict[str, float]]):
    """Weights of heads, such as `engage=1,like=0.5`."""

    name = "HEAD=WEIGHT,..."

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> dict[str, float]:
        """Return the weight of each named head."""
        if isinstance(value, dict):
            return value
        found: dict[str, float] = {}
        for part in str(value).split(","):
            head, equals, weight = part.partition("=")
            if not equals or not head.strip() or head.strip() in found:
                self.fail(f"{part!r}: expected HEAD=WEIGHT, each head once.", param, ctx)
            found[head.strip()] = FiniteRange(0, 1000).convert(weight, param, ctx)
        return found


@click.command(
    epilog="Example: pocketrec policy-value work/bundle --events work/events --rules rules.json"
)
@click.argument("bundle", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option(
    "--events",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    required=True,
    help="Folder of `pocketrec events export`.",
)
@click.option(
    "--rules",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Evaluate these rules, in the form of rules.json, instead of the bundle's.",
)
@click.option(
    "--weights",
    type=Weights(),
    help="Evaluate these weights of the ranker's heads; other heads keep theirs.",
)
@click.option(
    "--logged",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    multiple=True,
    help="Bundle that showed logged slates, to know the support exactly; BUNDLE is one too.",
)
@click.option(
    "--reward",
    metavar="EVENT,EVENT",
    default="",
    help="Event types that reward an impression.  [default: all]",
)
@click.option(
    "--values",
    is_flag=True,
    help="Reward with the sum of the events' values instead of 1.",
)
@click.option(
    "--window-days",
    type=FiniteRange(min=0, max=365, min_open=True),
    default=7,
    show_default=True,
    help="Latest time of a rewarding event after the impression.",
)
@click.option(
    "--assume",
    type=click.Choice(["item-position", "position-based"]),
    default="item-position",
    show_default=True,
    help="Reward depends on item and place; or is attraction of the item times examination of "
    "the place, which lets an item logged at one place count for others.",
)
@click.option(
    "--examination",
    type=FiniteRange(0, 5),
    metavar="ETA",
    help="Examination of place k is k ** -ETA.  [default: fitted on explored impressions]",
)
@click.option(
    "--requests",
    type=click.IntRange(1),
    default=5000,
    show_default=True,
    help="Replay about so many requests, of whole users drawn by a hash of their ids.",
)
@click.option(
    "--unsupported",
    type=FiniteRange(0, 1),
    default=0.05,
    show_default=True,
    help="Refuse if the logging policy could not show more of the target's places, or the "
    "target's models did not answer more of the requests.",
)
@click.option(
    "--effective",
    type=FiniteRange(0),
    default=200,
    show_default=True,
    help="Refuse below this effective sample size, in impressions.",
)
@click.option(
    "--clip",
    type=FiniteRange(min=0, min_open=True),
    help="Largest importance weight.  [default: no clipping]",
)
@click.option(
    "--engine",
    type=click.Choice(["auto", "litert", "onnx"]),
    default="auto",
    show_default=True,
    help="Runtime of the models.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    bundle: Path,
    events: Path,
    rules: Path | None,
    weights: dict[str, float] | None,
    logged: tuple[Path, ...],
    reward: str,
    values: bool,
    window_days: float,
    assume: str,
    examination: float | None,
    requests: int,
    unsupported: float,
    effective: float,
    clip: float | None,
    engine: str,
    as_json: bool,
) -> None:
    """Estimate what BUNDLE would have earned on logged slates, without showing it to anybody.

    The logged slates must come from releases that explore (`rerank.explore`). Exits with 3 and the
    reason if the events cannot answer.
    """
    from pocketrec.policy.table import lines, plain
    from pocketrec.policy.value import Question, policy_value
    from pocketrec_experiments.off_policy import Limits
    from pocketrec_experiments.off_policy.exported import Rewards

    found = policy_value(
        Question(
            bundle=bundle,
            events=events,
            rules=rules,
            weights=weights,
            logged=logged,
            rewards=Rewards(
                events=tuple(one.strip() for one in reward.split(",") if one.strip()),
                values=values,
                window_s=round(window_days * DAY_S),
            ),
            assumption=assume,
            eta=examination,
            most=requests,
            limits=Limits(unsupported=unsupported, effective=effective, clip=clip),
            engine=engine,
        )
    )
    click.echo(json.dumps(plain(found)) if as_json else "\n".join(lines(found)))
