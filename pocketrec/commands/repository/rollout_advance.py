"""`pocketrec rollout advance`: offer a release to more devices if its stage is healthy."""

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pocketrec.commands.repository.advance_options import Ramp, ramp_options
from pocketrec.commands.repository.keys_options import note_of
from pocketrec.commands.repository.rollout_options import RELEASE, change_release, say

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from pocketrec_bundle.settings.rollout import RolloutPolicy, Stage
    from pocketrec_server.halting.waiting import Verdict, Wait


@click.command(
    epilog="Example: pocketrec rollout advance spring --steps 1,10,50,100 --repo work/repo"
    " --keys work/keys"
)
@RELEASE
@ramp_options
def advance(
    release: str,
    ramp: Ramp,
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
    from pocketrec_server.halting.waiting import of_release
    from pocketrec_server.repository import publish as repository
    from pocketrec_server.repository.rollout import changed, find

    note = note_of(by, reason)
    stage = find(repository.read_policy(repo, channel), release)

    def judge(engine: "Engine", wait: "Wait") -> "Verdict":
        return of_release(repo, engine, channel, stage, wait)

    step = ramp.next_stage(release, stage.percent_at(time.time()), repo, judge)
    if step is None:
        say(repo, channel, as_json)
        return

    def change(policy: "RolloutPolicy", stage: "Stage") -> "RolloutPolicy":
        return changed(policy, stage, percent=step)

    change_release(release, repo, keys, channel, as_json, note, "advance", change)
