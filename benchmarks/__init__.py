"""Benchmarks: one file a claim, one command each, one JSON form.

In: a trained or synthetic data set, the command line, the rooms' public names.
Out: `pocketrec bench NAME --json FILE`, the form that `benchmarks/harness.py` writes.
Reading order: `harness.py`, then the benchmark you want, in a folder by its subject; `README.md`
has the table of claims.
Rule: times are compared as ratios within one run; nothing here is imported by a room.
"""

from typing import NamedTuple


class Benchmark(NamedTuple):
    """A module of this package with `run(options) -> Result`, and its claim.

    in_sets: whether it can run some of its data sets only (`--only`).
    """

    module: str
    claim: str
    in_sets: bool = False


# By the name of the command.
BENCHMARKS = {
    "demo": Benchmark(
        "demo",
        "MovieLens-100K end to end: train, export, publish, sync, recommend offline, update.",
    ),
    "fuzz-bundle": Benchmark(
        "readers.fuzz_bundle",
        "No damaged or hostile bundle does more to a reader than be refused.",
    ),
    "fuzz-tables": Benchmark(
        "readers.fuzz_tables",
        "No damaged table ends `pocketrec data` in more than a refusal with a reason.",
    ),
    "golden-mutations": Benchmark(
        "readers.golden_mutations",
        "Golden vectors catch faults of a client, one by one, and name the stage.",
    ),
    "features": Benchmark(
        "releases.features",
        "30 declared features of a million items cost little space and time; devices agree.",
    ),
    "quality-ml1m": Benchmark(
        "quality.ml1m",
        "MovieLens-1M through int8 models and index, beside the published figures.",
    ),
    "quality-cold": Benchmark(
        "quality.cold",
        "Items never seen in training, by content alone, in a shop and among films.",
    ),
    "quality-new-users": Benchmark(
        "quality.new_users",
        "The last 0 to 10 events of a user are known: slates beside popularity and item-kNN.",
        in_sets=True,
    ),
    "quality-ranker": Benchmark(
        "quality.ranker",
        "Two stages beat one; the ranker beats logistic regression and LightGBM.",
    ),
    "quality-retail": Benchmark(
        "quality.retail",
        "Online Retail II, new items and repeats, beside tuned baselines.",
    ),
    "rolling": Benchmark(
        "releases.rolling",
        "A shop's log week after week, with and without the final fit, beside baselines.",
    ),
    "own-data": Benchmark(
        "quality.own_data",
        "Public files to a slate with the recipe of init; never below the best baseline.",
        in_sets=True,
    ),
    "epoch-time": Benchmark(
        "releases.epoch_time",
        "An epoch on short histories: padded to one length, then by length; seconds.",
    ),
    "catalogue": Benchmark(
        "releases.catalogue",
        "A million items grown, updated and compacted without training, in minutes.",
    ),
    "export": Benchmark(
        "phone.export",
        "Every model file: bytes, milliseconds, error, quality; size at a million items.",
    ),
    "device": Benchmark(
        "phone.device",
        "10 thousand to 10 million items: milliseconds by stage, memory, recall, peers.",
    ),
    "offline": Benchmark(
        "phone.offline",
        "Ten minutes on a phone of a million items: no growth, no socket, no gap.",
    ),
    "objectives": Benchmark(
        "quality.objectives",
        "Revenue of the first 20: a value head against purchase probability x price.",
    ),
    "rerank": Benchmark(
        "quality.rerank",
        "Each rule of re-ranking, setting by setting: NDCG beside diversity; milliseconds.",
    ),
    "off-policy": Benchmark(
        "quality.off_policy",
        "Off-policy estimates against simulated truths and Open Bandit Data; coverage, error.",
    ),
    "session": Benchmark(
        "phone.session",
        "A new user's first slates, by what is known; a like and the slate after it.",
    ),
    "sync": Benchmark(
        "delivery.sync",
        "1% of a catalogue's rows, then prices changed: bytes that a phone downloads.",
    ),
    "fleet": Benchmark(
        "delivery.fleet",
        "10,000 devices updated over loopback; 1,000 more through a network full of faults.",
    ),
    "halting": Benchmark(
        "delivery.halting",
        "How many phones fail before a halt; how many networks forge or prevent one.",
    ),
    "faults": Benchmark(
        "delivery.faults",
        "A publish, an install, a sync, killed at every step: nothing is lost.",
    ),
    "experiment": Benchmark(
        "experiments.experiment",
        "Daily looks keep their error rate, CUPED narrows, a report takes a minute.",
    ),
    "warm-start": Benchmark(
        "releases.warm_start",
        "The next release: afresh, warm, and rotated back; quality and delta of each.",
    ),
}

__all__ = ["BENCHMARKS", "Benchmark"]
