"""Figures of a simulated class, from the lives of its phones."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from pocketrec_edge.simulator.classes import DeviceClass
from pocketrec_edge.simulator.life import Life

MIB = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassReport:
    """One class.

    Attributes:
        requests: answers of any source.
        p50_ms, p99_ms: of all stages of a slate; first_slate_ms: median from opening the app to
            its first slate, disk included. Both are measured here, times `cpu_slowdown`: a model
            of a phone. None: no slate.
        sources: requests by the answer's source.
        unanswered: requests without an item though a release was installed.
        faults: how often each was told.
        releases: phones by the release that was active at the end.
        sync_s: what the class's networks would have taken for what was transferred, a model.
        put_off: syncs that had to wait, by reason.
        resident_mib: the most that the process of these phones had resident, Python and the engine
            included, measured here; would_be_killed: whether that is above `memory_mib`.
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


def summed(kind: DeviceClass, lives: list[Life], peak_bytes: int) -> ClassReport:
    """Add up the phones of a class."""
    slower = kind.cpu_slowdown
    total_ms = [ms * slower for life in lives for ms in life.total_ms]
    first_ms = [ms * slower for life in lives for ms in life.first_ms]
    return ClassReport(
        name=kind.name,
        devices=len(lives),
        cpu_slowdown=slower,
        requests=sum(sum(life.sources.values()) for life in lives),
        p50_ms=_quantile(total_ms, 0.5),
        p99_ms=_quantile(total_ms, 0.99),
        first_slate_ms=_quantile(first_ms, 0.5),
        sources=_sum(life.sources for life in lives),
        unanswered=sum(life.unanswered for life in lives),
        faults=_sum(life.faults for life in lives),
        releases=dict(Counter(life.release or "none" for life in lives)),
        installs=sum(life.installs for life in lives),
        syncs=sum(life.syncs for life in lives),
        put_off=_sum(life.put_off for life in lives),
        bytes_down=sum(life.bytes_down for life in lives),
        sync_s=round(sum(life.sync_s for life in lives), 3),
        acts=sum(life.acts for life in lives),
        events=sum(life.events for life in lives),
        events_sent=sum(life.events_sent for life in lives),
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
