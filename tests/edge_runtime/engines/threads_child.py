"""Answers requests of several kinds; prints how long other threads than this one worked for each.

Run as `python threads_child.py RELEASE`, a release with models; prints one JSON object.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from pocketrec_bundle.features import History
from pocketrec_bundle.reader import open_bundle
from pocketrec_bundle.settings.rules import CategoryCalibration, Dpp, Mmr, NearDuplicates, Rules
from pocketrec_edge.recommend.explain import explain
from pocketrec_edge.recommend.filters import Filters, Range
from pocketrec_edge.recommend.pipeline import Recommender
from pocketrec_edge.recommend.query import HOME, Query
from pocketrec_edge.recommend.surfaces import SEARCH, SIMILAR, Surface

TIMES = 5
NOW = 1_800_000_000


def others() -> list[Path]:
    """Return the system's figures for each other thread of this process."""
    own = str(os.getpid())
    return [task for task in Path("/proc/self/task").iterdir() if task.name != own]


def others_ns() -> int:
    """Processor time of all other threads, ns."""
    return sum(int((task / "schedstat").read_text().split()[0]) for task in others())


def others_sleep() -> bool:
    """Whether no other thread works, or waits for a core to go on working."""
    return all(
        (task / "stat").read_text().rpartition(")")[2].split()[0] == "S" for task in others()
    )


def worked_ns(job: Callable[[], object]) -> int:
    """Processor time that a job takes on other threads, once those of jobs before it sleep."""
    job()
    while not others_sleep():  # threads that wait for work spin for a while
        time.sleep(0.01)
    before = others_ns()
    for _ in range(TIMES):
        job()
    return others_ns() - before


def large_product() -> object:
    """A product that every BLAS with threads splits."""
    matrix = np.ones((1000, 1000), np.float32)
    return matrix @ matrix.T


bundle = open_bundle(Path(sys.argv[1]), verify=False)
rng = np.random.default_rng(1)
rows = rng.integers(0, bundle.item_count, 300).astype(np.int32)
history = History(rows, np.zeros(300, np.int32), NOW - 3600 * np.arange(300, 0, -1))
device = Recommender(bundle, "onnx")
policy = device.policy
rules = Rules(
    depth=1000,
    rules=(
        NearDuplicates(cosine=0.9, titles=False),
        Mmr(relevance=0.5),
        Dpp(relevance=0.5),
        CategoryCalibration(weight=0.5),
    ),
)


def ask(k: int = 50, scene: Surface = HOME, filters: Filters | None = None) -> None:
    """Answer one request, by the models."""
    slate = device.recommend(Query(history, NOW, k, surface=scene, filters=filters))
    assert slate.source == "model", slate.faults
    assert len(slate.items) >= min(k, 10)


found = {"one large product": worked_ns(large_product)}
found["1,000 candidates"] = worked_ns(ask)
device.policy = replace(policy, candidates=200)
found["200 candidates"] = worked_ns(ask)
device.policy = replace(policy, probes=0)
found["all cells"] = worked_ns(ask)
device.policy = policy
found["a filter"] = worked_ns(lambda: ask(filters=Filters(ranges=(Range(column="price", low=1),))))
found["items like one"] = worked_ns(lambda: ask(scene=Surface(kind=SIMILAR, rows=rows[:1])))
found["search results"] = worked_ns(lambda: ask(scene=Surface(kind=SEARCH, rows=np.unique(rows))))
explained = History(history.rows[-10:], history.events[-10:], history.ts[-10:])
found["an explanation"] = worked_ns(lambda: explain(device, explained, NOW, 10))
bundle.rules = rules
found["rules"] = worked_ns(ask)
json.dump(found, sys.stdout)
