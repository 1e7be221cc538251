"""The phone: milliseconds, memory, bytes, search beside its peers, model files."""

from benchmarks.results_page.section import Run, Section, Values, number
from benchmarks.results_page.table import Column, Row, Table, Target

MIB = 2**20
MILLION = 1_000_000
PEERS = {
    "pocketrec": "PocketRec",
    "faiss ivf-sq8": "Faiss IVF-SQ8",
    "hnswlib": "hnswlib",
    "usearch hnsw-i8": "USearch HNSW int8",
    "numpy exact": "exact, numpy",
    "exact graph": "exact, in the TFLite graph",
}


def _device_targets(run: Run) -> list[Target]:
    figures = run.figures
    found = []
    for end, kind in (("", "32 neighbours an item"), ("_plain", "no neighbours")):
        memory = figures[f"rss_mib_1m{end}"] * MIB / 1e6
        size = figures[f"bundle_bytes_1m{end}"] / 1e6
        first = figures[f"cold_start_ms_1m{end}"]
        busy = figures[f"busy_ratio_1m{end}"]
        found += [
            Target(f"p99 of a slate, {kind}", "ms", figures[f"p99_ms_1m{end}"], "at most", 5, 2),
            Target(f"median beside busy loops over idle, {kind}", "", busy, "at most", 2, 2),
            Target(f"process start to first slate, {kind}", "ms", first, "at most", 300),
            Target(f"resident memory, {kind}", "MB", memory, "at most", 150),
            Target(f"bundle without texts, {kind}", "MB", size, "at most", 80, 1),
        ]
    retrieve = figures["retrieve_ms_1m"]
    return [
        *found,
        Target("recall@1000 of the search", "", figures["recall1000_1m"], "at least", 0.95, 3),
        Target("search over Faiss", "", retrieve / figures["faiss_ivf_ms_1m"], "at most", 2, 2),
        Target(
            "exact graph over search",
            "",
            figures["exact_graph_ms_1m"] / retrieve,
            "at least",
            10,
            1,
        ),
        Target("cost as a power of N", "", figures["growth_exponent"], "at most", 0.5, 2),
    ]


def _phones(run: Run) -> list[Values]:
    return run.where(kind="phone", variant="default", engine="litert")


def _phone_name(row: Values) -> str:
    return f"{row['items']:,}" + ("" if row.get("neighbours", 0) else ", no neighbours")


def _stages(run: Run) -> Table:
    stages = ("features", "tower", "retrieve", "rank", "rerank")
    return Table(
        "Median milliseconds by stage, LiteRT",
        "items",
        [Column(f"{stage}, ms", 2) for stage in stages],
        [
            Row(_phone_name(row), [row[f"{stage}_ms_p50"] for stage in stages])
            for row in _phones(run)
        ],
    )


def _totals(run: Run) -> Table:
    return Table(
        "A slate of 50 from 1,000 ranked candidates, LiteRT",
        "items",
        [
            Column("p50, ms", 2),
            Column("p99, ms", 2),
            Column("start to first slate, ms"),
            Column("resident, MiB"),
            Column("bundle, MB", 1),
        ],
        [
            Row(
                _phone_name(row),
                [
                    row["total_ms_p50"],
                    row["total_ms_p99"],
                    row["cold_start_ms"],
                    row["rss_mib"],
                    number(row["bundle_bytes"]) / 1e6,
                ],
            )
            for row in _phones(run)
        ],
    )


def _engines(run: Run) -> Table:
    names = {"litert": "LiteRT", "onnx": "ONNX Runtime"}
    rows = [
        Row(
            f"{names[str(row['engine'])]}, {row['variant']}",
            [row["total_ms_p50"], row["total_ms_p99"]],
        )
        for row in run.where(kind="phone", items=MILLION)
        if row["variant"] != "default"
    ]
    columns = [Column("p50, ms", 2, "low"), Column("p99, ms", 2, "low")]
    return Table("A slate from a million items, by runtime and variant", "runtime", columns, rows)


def _searches(run: Run, items: int, dim: int, vectors: str) -> Table:
    rows = [
        Row(label, [row["ms_p50"], row["ms_p99"], row["recall1000"]])
        for method, label in PEERS.items()
        for row in run.where(kind="search", items=items, dim=dim, vectors=vectors, method=method)
    ]
    kind = "" if vectors == "real" else f", {vectors} vectors"
    columns = [Column("p50, ms", 2, "low"), Column("p99, ms", 2, "low"), Column("recall@1000", 3)]
    return Table(f"Search, best 1,000 of {items:,}, d = {dim}{kind}", "method", columns, rows)


def _device_tables(run: Run) -> list[Table]:
    searches = [_searches(run, items, 64, "real") for items in (10_000, 100_000, MILLION)]
    synthetic = [_searches(run, items, 64, "synthetic") for items in (10_000, 100_000, MILLION)]
    return [_totals(run), _stages(run), _engines(run), *searches, *synthetic]


def _large_targets(run: Run) -> list[Target]:
    exponent = run.figures["growth_exponent"]
    return [Target("cost as a power of N, up to 10 million", "", exponent, "at most", 0.5, 2)]


def _large_tables(run: Run) -> list[Table]:
    sizes = ((10_000_000, 64), (100_000, 32), (MILLION, 32), (100_000, 128), (MILLION, 128))
    return [_searches(run, items, dim, "real") for items, dim in sizes]


def _offline_targets(run: Run) -> list[Target]:
    figures = run.figures
    answered = figures["answered_by_models"] * 100
    return [
        Target("requests", "", figures["requests"], "at least", 100_000),
        Target("duration", "s", figures["seconds"], "at least", 600),
        Target("answered by the models", "%", answered, "exactly", 100),
        Target("faults", "", figures["faults"], "exactly", 0),
        Target("sockets opened", "", figures["sockets_opened"], "exactly", 0),
    ]


def _offline_tables(run: Run) -> list[Table]:
    figures = run.figures
    return [
        Table(
            "Memory, time and log",
            "figure",
            [Column("value", 2)],
            [
                Row("growth of resident memory, MiB", [figures["rss_growth_mib"]]),
                Row("resident memory at the end, MiB", [figures["rss_mib"]]),
                Row("p50 of the last 20,000 requests, ms", [figures["p50_ms"]]),
                Row("p99 of the last 20,000 requests, ms", [figures["p99_ms"]]),
                Row("processor time a request, log included, ms", [figures["cpu_ms_request"]]),
                Row("events in the log", [f"{figures['events']:,.0f}"]),
                Row("size of the log, MB", [figures["log_bytes"] / 1e6]),
            ],
        )
    ]


def _export_targets(run: Run) -> list[Target]:
    figures = run.figures
    largest = max(number(row["models_bytes"]) for row in run.rows if "models_bytes" in row)
    sizes = {"": "ids item-0000001", "_random_ids": "ids of ten random letters"}
    bundles = [
        Target(
            f"bundle of a million items without texts, {what}",
            "MB",
            figures[f"bundle_bytes_1m{end}"] / 1e6,
            "at most",
            80,
            1,
        )
        for end, what in sizes.items()
    ]
    cosine, shared = figures["tower_cosine"], figures["top100_overlap"]
    return [
        Target("both models, largest target", "kB", largest / 1000, "at most", 1000),
        Target("cosine of the dynamic user tower with fp32", "", cosine, "at least", 0.9999, 5),
        Target("shared first 100 items of the same", "", shared, "at least", 0.99, 3),
        *bundles,
        Target("export of MovieLens-1M", "s", figures["export_ml1m_s"], "at most", 180),
        Target("two exports with equal bytes", "", figures["same_bytes"], "exactly", 1),
    ]


def _export_tables(run: Run) -> list[Table]:
    shipped = Table(
        "Models that ship, MovieLens-100K",
        "target",
        [Column("user tower"), Column("ranker"), Column("both, bytes")],
        [
            Row(str(row["target"]), [row["user_tower"], row["ranker"], row["models_bytes"]])
            for row in run.rows
            if "target" in row
        ],
    )
    names = {"user_tower": "User tower", "ranker": "Ranker"}
    columns = [
        Column("bytes", 0, "low"),
        Column("ms", 2, "low"),
        Column("largest error"),
        Column("largest error, hard inputs"),
        Column("smallest cosine", 6, "high"),
        Column("shared first 100 or 10", 4, "high"),
        Column("NDCG@10", 4, "high"),
    ]
    keys = ("cosine", "overlap", "ndcg10")
    files = [
        Table(
            f"{name} on {runtime}",
            "variant",
            columns,
            [
                Row(
                    str(row["variant"]),
                    [
                        row["bytes"],
                        row["ms"],
                        f"{row['to_keras']:.1e}",
                        f"{row['hard_error']:.1e}",
                        *(row[key] for key in keys),
                    ],
                )
                for row in run.where(model=model, runtime=runtime, status="ok")
            ],
        )
        for model, name in names.items()
        for runtime in dict.fromkeys(
            str(row["runtime"]) for row in run.rows if row.get("model") == model
        )
    ]
    return [shipped, *files]


SECTIONS = (
    Section(
        name="device",
        claim=(
            "A phone with a million items retrieves 1,000 at a recall@1000 of 0.95, ranks them and"
            " re-ranks to 50 in at most 5 ms (p99, one thread). It starts within 300 ms and takes"
            " at most 150 MB of memory and 80 MB of storage."
        ),
        command="pocketrec bench device --json FILE",
        data=(
            "MovieLens-100K's item vectors extended to N items, d = 64, real users at random points"
            " of their past, 2,000 requests; an idle machine but for the rows beside busy loops."
        ),
        targets=_device_targets,
        tables=_device_tables,
        notes=(
            "One thread of a server's processor, not a phone's: compare ratios.",
            "Peers need `pip install 'pocketrec[bench]'`. Each peer has the smallest setting that"
            " reaches PocketRec's recall on half of the queries; the figures are of the other"
            " half.",
        ),
        guide="[Performance](device/performance.md)",
    ),
    Section(
        name="device-10m",
        claim="The cost of a search grows no faster than the square root of N, up to 10 million.",
        command="pocketrec bench device --json FILE",
        data="As above, an earlier version on another machine, with other work beside it.",
        targets=_large_targets,
        tables=_large_tables,
        guide="[Performance](device/performance.md)",
    ),
    Section(
        name="offline",
        claim=(
            "A phone of a million items answers 100,000 requests in more than ten minutes from its"
            " models, opens no socket, and keeps its memory level."
        ),
        command="pocketrec bench offline --json FILE",
        data="The release of `device` without neighbours; every hundredth slate is logged.",
        targets=_offline_targets,
        tables=_offline_tables,
        notes=(
            "Growth is the mean of the last tenth of the requests less that of the second tenth.",
        ),
        guide="[Ten minutes without a pause](device/performance.md#ten-minutes-without-a-pause)",
    ),
    Section(
        name="export",
        claim=(
            "Both models take at most 1 MB at d = 64, the int8 user tower keeps cosine and first"
            " 100 items, a million items fit 80 MB, and equal inputs give equal bytes."
        ),
        command="pocketrec bench export --json FILE",
        data=(
            "MovieLens-100K; quality on validation events, from most of which the ranker learned:"
            " compare variants only."
        ),
        targets=_export_targets,
        tables=_export_tables,
        notes=(
            "Errors are against Keras on 64 histories; cosine and shares against the fp32 file:"
            " first 100 items of the user tower, first 10 of the ranker.",
            "tflite-runtime 2.14 skips the dynamic files: they need runtime 2.17.",
        ),
        guide="[Export](export.md)",
    ),
)
