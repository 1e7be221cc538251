"""`pocketrec rollout advance`: offer a release to more devices if its stage is healthy."""

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pocketrec.commands.repository.advance_options import (
    DATABASE,
    DAYS,
    NETWORKS,
    STEPS,
    may_go_on,
    reports,
)
from pocketrec.commands.repository.keys_options import BY, KEYS, REASON, REPO, note_of
from pocketrec.commands.repository.rollout_options import (
    CHANNEL,
    JSON,
    RELEASE,
    change_release,
    say,
)

if TYPE_CHECKING:
    from pocketrec_bundle.settings.rollout import RolloutPolicy, Stage


@click.command(
    epilog="Example: pocketrec rollout advance spring --steps 1,10,50,100 --repo work/repo"
    " --keys work/keys"
)
@RELEASE
@STEPS
@NETWORKS
@DAYS
@DATABASE
@REPO
@KEYS
@CHANNEL
@BY
@REASON
@JSON
def advance(
    release: str,
    steps: tuple[float, ...],
    networks: int,
    days: float,
    database: str,
    repo: Path,
    keys: tuple[Path, ...],
    channel: str,
    by: str | None,
    reason: str,
    as_json: bool,
) -> None:
    """Offer RELEASE to the next of --steps if the present stage is healthy.

    Run it from cron. It waits for enough networks with outcomes, and for a look at each guardrail
    of the channel; exit code 3 means that the release is halted, beyond a guardrail, or fails on
    more devices than its limit.
    """
    from pocketrec_server.halting import waiting
    from pocketrec_server.repository import publish as repository
    from pocketrec_server.repository.rollout import changed, find

    note = note_of(by, reason)
    stage = find(repository.read_policy(repo, channel), release)
    step = waiting.next_step(steps, stage.percent_at(time.time()))
    if step is None:
        click.echo(f"{release}: is at its last stage", err=True)
        say(repo, channel, as_json)
        return
    with reports(repo, database) as engine:
        wait = waiting.Wait(networks=networks, days=days)
        verdict = waiting.of_release(repo, engine, channel, stage, wait)
    if not may_go_on(release, verdict):
        say(repo, channel, as_json)
        return

    def change(policy: "RolloutPolicy", stage: "Stage") -> "RolloutPolicy":
        return changed(policy, stage, percent=step)

    change_release(release, repo, keys, channel, as_json, note, "advance", change)
