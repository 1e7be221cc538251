"""Benchmarks: one file a claim, one command each, one JSON form.

In: a trained or synthetic data set, the command line, the rooms' public names.
Out: `pocketrec bench NAME --json FILE`, the form that `benchmarks/harness.py` writes.
Reading order: `harness.py`, then the benchmark you want; `README.md` has the table of claims.
Rule: times are compared as ratios within one run; nothing here is imported by a room.
"""

# name -> the claim; `benchmarks.<name>`, dashes as underscores, has `run(options) -> Result`.
BENCHMARKS = {
    "demo": "MovieLens-100K end to end: train, export, publish, sync, recommend offline, update.",
    "fuzz-bundle": "No damaged or hostile bundle does more to a reader than be refused.",
    "golden-mutations": "Golden vectors catch faults of a client, one by one, and name the stage.",
    "quality-ml1m": "MovieLens-1M through int8 models and index, beside the published figures.",
    "quality-cold": "Items never seen in training, by content alone, in a shop and among films.",
    "quality-ranker": "Two stages beat one; the ranker beats logistic regression and LightGBM.",
    "quality-retail": "Online Retail II, new items and repeats, beside tuned baselines.",
    "epoch-time": "An epoch on short histories: padded to one length, then by length; seconds.",
    "catalogue": "A million items grown, updated and compacted without training, in minutes.",
    "export": "Every model file: bytes, milliseconds, error, quality; size at a million items.",
    "device": "10 thousand to 10 million items: milliseconds by stage, memory, recall, peers.",
    "offline": "Ten minutes on a phone of a million items: no growth, no socket, no gap.",
    "rerank": "Each rule of re-ranking, setting by setting: NDCG beside diversity; milliseconds.",
    "session": "A new user's first slates, by what is known; a like and the slate after it.",
    "sync": "1% of a catalogue's rows, then prices changed: bytes that a phone downloads.",
    "fleet": "10,000 devices updated over loopback; 1,000 more through a network full of faults.",
    "halting": "How many phones fail before a halt; how many networks forge or prevent one.",
    "faults": "A publish, an install, a sync, killed at every step: nothing is lost.",
    "warm-start": "The next release: afresh, warm, and rotated back; quality and delta of each.",
}

__all__ = ["BENCHMARKS"]
