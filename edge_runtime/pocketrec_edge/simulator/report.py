"""Figures of a simulated class, from the results of its phones."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from pocketrec_edge.simulator.device_profiles import DeviceClass
from pocketrec_edge.simulator.session_result import SessionResult

MIB = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassReport:
    """One class.

    Attributes:
        requests: number of answers.
        p50_ms, p99_ms: quantiles of the time of a slate, all stages. Measured on this machine and
            multiplied by `cpu_slowdown`, a model of the phone. None: no slate.
        first_slate_ms: median time from opening the app to its first slate, with disk; modelled in
            the same way.
        sources: number of requests by the answer's source.
        unanswered: requests without items although a release was installed.
        faults: number of faults by text.
        releases: number of phones by active release at the end.
        sync_s: modelled transfer time on the class's networks, in seconds.
        put_off: number of syncs that had to wait, by reason.
        resident_mib: peak resident memory of the process, with Python and the engine, measured on
            this machine.
        would_be_killed: whether that exceeds `memory_mib`.
    """

    name: str
    devices: int
    cpu_slowdown: float
    requests: int
    p50_ms: float | None
    p99_ms: float | None
    first_slate_ms: float | None
    sources: dict[str, int]
    unanswered: int
    faults: dict[str, int]
    releases: dict[str, int]
    installs: int
    syncs: int
    put_off: dict[str, int]
    bytes_down: int
    sync_s: float
    acts: int
    events: int
    events_sent: int
    resident_mib: float
    memory_mib: float
    would_be_killed: bool


def summarise(kind: DeviceClass, results: list[SessionResult], peak_bytes: int) -> ClassReport:
    """Summarise the results of a class's phones."""
    slower = kind.cpu_slowdown
    total_ms = [ms * slower for result in results for ms in result.total_ms]
    first_ms = [ms * slower for result in results for ms in result.first_ms]
    return ClassReport(
        name=kind.name,
        devices=len(results),
        cpu_slowdown=slower,
        requests=sum(sum(result.sources.values()) for result in results),
        p50_ms=_quantile(total_ms, 0.5),
        p99_ms=_quantile(total_ms, 0.99),
        first_slate_ms=_quantile(first_ms, 0.5),
        sources=_sum(result.sources for result in results),
        unanswered=sum(result.unanswered for result in results),
        faults=_sum(result.faults for result in results),
        releases=dict(Counter(result.release or "none" for result in results)),
        installs=sum(result.installs for result in results),
        syncs=sum(result.syncs for result in results),
        put_off=_sum(result.put_off for result in results),
        bytes_down=sum(result.bytes_down for result in results),
        sync_s=round(sum(result.sync_s for result in results), 3),
        acts=sum(result.acts for result in results),
        events=sum(result.events for result in results),
        events_sent=sum(result.events_sent for result in results),
        resident_mib=round(peak_bytes / MIB, 1),
        memory_mib=kind.memory_mib,
        would_be_killed=peak_bytes > kind.memory_mib * MIB,
    )


def _quantile(values: list[float], q: float) -> float | None:
    return round(float(np.quantile(values, q)), 3) if values else None


def _sum(counters: Iterable[Counter[str]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for each in counters:
        total.update(each)
    return dict(total.most_common())
