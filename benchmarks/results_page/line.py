"""The whole line: two tables, training, export, sync, a phone without a network."""

from benchmarks.results_page.section import Run, Section, Values, number
from benchmarks.results_page.table import Column, Row, Table, Target

METHODS = {
    "two_stage": "PocketRec, two towers and ranker",
    "two_tower": "PocketRec, two towers alone",
    "transitions": "transition counts",
    "slist": "SLIST",
    "item_knn": "item-kNN",
    "popularity": "popularity",
}


def _targets(run: Run) -> list[Target]:
    figures = run.figures
    return [
        Target(
            "NDCG@10, above the best simple method",
            "",
            figures["ndcg10_two_stage"],
            "at least",
            figures["ndcg10_best_baseline"],
            3,
        ),
        Target("p99 of a slate, one screen frame", "ms", figures["p99_ms"], "at most", 16.7, 1),
        Target("sync with nothing new, body", "bytes", figures["idle_bytes"], "exactly", 0),
    ]


def _value(run: Run, what: str) -> float:
    return run.number("value", what=what)


def _difference(row: Values) -> float:
    """Read the number in "bytes, off Keras by 3.2e-02, default"."""
    words = str(row["unit"]).split(", ")
    if words[-1] != "default":
        raise ValueError(f"the demo ships no {row['what']}; name the file that it ships")
    return number(words[1].removeprefix("off Keras by "))


def _tables(run: Run) -> list[Table]:
    quality = Table(
        "Quality on the 943 test users of MovieLens-100K, full ranking",
        "method",
        [Column("NDCG@10", 3, "high"), Column("Recall@20", 3, "high")],
        [
            Row(label, [_value(run, f"NDCG@10, {name}"), _value(run, f"recall@20, {name}")])
            for name, label in METHODS.items()
        ],
    )
    spread = {
        engine: str(run.one(what=f"{engine}: total")["value"]).split(" / ")
        for engine in ("litert", "onnx")
    }
    phone = Table(
        "One slate offline, 1,682 items, one phone",
        "runtime",
        [
            Column("p50, ms", 2, "low"),
            Column("p99, ms", 2, "low"),
            Column("import to first slate, ms", 0, "low"),
        ],
        [
            Row(
                label,
                [
                    *(number(each) for each in spread[engine]),
                    _value(run, f"{engine}: import to first slate"),
                ],
            )
            for engine, label in (("litert", "LiteRT"), ("onnx", "ONNX Runtime"))
        ],
    )
    models = Table(
        "Models that ship",
        "model",
        [Column("bytes"), Column("largest difference to Keras", 4)],
        [
            Row(label, [row["value"], _difference(row)])
            for name, label in (
                ("user_tower.litert.dynamic", "user tower, LiteRT, dynamic"),
                ("ranker.litert.dynamic", "ranker, LiteRT, dynamic"),
                ("user_tower.onnx.fp16", "user tower, ONNX Runtime, fp16"),
                ("ranker.onnx.dynamic", "ranker, ONNX Runtime, dynamic"),
            )
            for row in [run.one(section="sizes", what=name)]
        ],
    )
    moved = Table(
        "Bytes over the network, models of both runtimes",
        "sync",
        [Column("kB", 1)],
        [
            Row("first sync", [run.figures["sync_bytes"] / 1000]),
            Row("catalogue changed", [run.figures["update_bytes"] / 1000]),
            Row("nothing new", [run.figures["idle_bytes"] / 1000]),
        ],
    )
    spent = Table(
        "Time",
        "step",
        [Column("s", 0)],
        [
            Row("set-up", [run.figures["setup_s"]]),
            Row("training", [run.figures["train_s"]]),
            Row("everything but set-up", [run.figures["total_s"]]),
        ],
    )
    return [quality, phone, models, moved, spent]


SECTIONS = (
    Section(
        name="demo",
        claim=(
            "Two tables become a signed release that three phones sync once and then use without a"
            " network; a changed catalogue follows without training."
        ),
        command="make demo",
        data="MovieLens-100K: 1,682 films, 943 users.",
        targets=_targets,
        tables=_tables,
        notes=("943 users are few: the 95% intervals of the best methods overlap.",),
    ),
)
