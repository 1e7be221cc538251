"""Which sums a phone sends now: one body for each experiment that the device was exposed to.

Everything is computed again from the log, so a kill or a lost answer counts nothing twice. Devices
with a forced arm, and slates that two arms share, have no sums.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from pocketrec_bundle.settings.experiment import OPEN, Experiment
from pocketrec_bundle.settings.experiment_sums import MAX_SEQ, PAST_DAYS, SIGNED, DeviceSums
from pocketrec_bundle.settings.experiments import Experiments
from pocketrec_bundle.units import DAY_S
from pocketrec_edge.events.consent import SENDS_SUMS, withdrawn_until
from pocketrec_edge.events.event import Event
from pocketrec_edge.events.log import EventLog
from pocketrec_edge.events.slate_events import SALT_DIGITS
from pocketrec_edge.experiments.run_sums import run_sums
from pocketrec_edge.experiments.sums_memory import GRACE_S, Run, SumsMemory, new_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """A body to send, and what to remember of it.

    Attributes:
        body: the sums.
        run: to store before the upload.
        sent: to store after it.
    """

    body: DeviceSums
    run: Run
    sent: Run


def due_sums(log: EventLog, signed: Experiments, memory: SumsMemory, now_utc: int) -> list[Due]:
    """Return the bodies to send now; at most one a day for each experiment.

    Args:
        log: of the phone.
        signed: experiments of the channel.
        memory: of the phone.
        now_utc: unix seconds by the device's clock.

    Raises:
        EventLogError: the log cannot be read.
    """
    decisions = log.decisions()
    if not decisions or decisions[-1].state not in SENDS_SUMS:
        return []
    since_utc = withdrawn_until(decisions)
    exposures = [event for event, _ in log.exposures()]
    found = []
    for experiment in signed.experiments:
        if now_utc >= experiment.until_utc + GRACE_S:
            continue
        mine = [one for one in exposures if one.event == experiment.id]
        run = _run_of(experiment, mine, memory, since_utc=since_utc, now_utc=now_utc)
        if run is None or run.is_final or run.sent_day == now_utc // DAY_S:
            continue
        due = _due(log, signed, experiment, run, since_utc=since_utc, now_utc=now_utc)
        if due is not None:
            found.append(due)
    return found


def _run_of(
    experiment: Experiment,
    exposures: list[Event],
    memory: SumsMemory,
    *,
    since_utc: int,
    now_utc: int,
) -> Run | None:
    """Return what is known of an experiment, or a new run from the first exposure that counts."""
    if any(one.context.get("forced") for one in exposures):
        return None
    known = memory.find((experiment.id, experiment.salt))
    if known is not None and known.exposed_utc >= since_utc:
        return replace(known, until_utc=experiment.until_utc)
    there = (one for one in exposures if one.ts <= now_utc)  # later ones: the clock was set back
    first = next((one for one in there if _counts(one, experiment, since_utc)), None)
    if first is None:
        return None
    run = Run(
        experiment=experiment.id,
        salt=experiment.salt,
        id=new_id(),
        arm=first.context["arm"],
        exposed_utc=first.ts,
        until_utc=experiment.until_utc,
    )
    if known is not None and known.arm == run.arm:  # of before a withdrawal: its row is replaced
        return replace(run, id=known.id, seq=known.seq, sent_day=known.sent_day)
    return run


def _counts(exposure: Event, experiment: Experiment, since_utc: int) -> bool:
    context = exposure.context
    return (
        context.get("salt") == experiment.salt[:SALT_DIGITS]
        and experiment.arm(str(context.get("arm"))) is not None
        and max(experiment.from_utc, since_utc) <= exposure.ts < experiment.until_utc
    )


def _due(
    log: EventLog,
    signed: Experiments,
    experiment: Experiment,
    run: Run,
    *,
    since_utc: int,
    now_utc: int,
) -> Due | None:
    found = run_sums(
        log.events_since(run.exposed_utc - PAST_DAYS * DAY_S),
        exposed_utc=run.exposed_utc,
        from_utc=experiment.from_utc,
        until_utc=min(experiment.until_utc, now_utc + 1),
        since_utc=since_utc,
        currency=run.currency,
        conversions=signed.conversions,
    )
    sums = _not_below(found.sums, run.sent)
    if sums == run.sent or run.seq >= MAX_SEQ:
        return None
    past = found.past if run.past is None else run.past
    run = replace(run, seq=run.seq + 1, past=past, currency=found.currency)
    body = DeviceSums(
        channel=signed.channel,
        experiment=run.experiment,
        salt=run.salt,
        arm=run.arm,
        id=run.id,
        seq=run.seq,
        currency=run.currency,
        sums=sums,
        past=past,
        score_bins=found.score_bins,
        latency_bins=found.latency_bins,
    )
    is_closed = experiment.state not in OPEN or now_utc >= experiment.until_utc
    sent = replace(run, sent=sums, sent_day=now_utc // DAY_S, is_final=is_closed)
    return Due(body=body, run=run, sent=sent)


def _not_below(sums: Mapping[str, int], sent: Mapping[str, int] | None) -> Mapping[str, int]:
    """Return the sums; if the log no longer has all events, the larger of these and the last."""
    if sent is None or all(sums[name] >= n for name, n in sent.items() if name not in SIGNED):
        return sums
    return {name: max(n, sent[name]) for name, n in sums.items()}
