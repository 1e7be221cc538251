"""Quality beside published figures and tuned simple methods."""

from benchmarks.results_page.section import Run, Section, number
from benchmarks.results_page.table import Column, Row, Table, Target

SIMPLE = {
    "als": "ALS",
    "ease": "EASE",
    "ease_popularity": "EASE + popularity",
    "ease_tifu_popularity": "EASE + TIFU-kNN + popularity",
    "item_knn": "item-kNN",
    "personal_frequency": "personal frequency",
    "popularity": "popularity",
    "slist": "SLIST",
    "tifu_knn": "TIFU-kNN",
    "transitions": "transition counts",
}
OURS = {
    "two_stage on the device": "PocketRec on the device, with ranker",
    "two_stage": "PocketRec in Keras, with ranker",
    "two_tower": "PocketRec in Keras, retrieval alone",
}
PHONE = "on the device, dynamic LiteRT and int8 index: "


def best_published(run: Run) -> float:
    """Return the best NDCG@10 published on the very file of MovieLens-1M that the run used."""
    return max(
        number(row["ndcg10"])
        for row in run.rows
        if row["source"] != "this run" and "own preprocessing" not in str(row["source"])
    )


def _ml1m_targets(run: Run) -> list[Target]:
    return [
        Target(
            "NDCG@10 on the device, best figure published on this file",
            "",
            run.figures["ndcg10_device"],
            "at least",
            best_published(run),
            3,
        ),
        Target("int8 models", "kB", run.figures["model_bytes"] / 1000, "at most", 1000),
    ]


def _ml1m_tables(run: Run) -> list[Table]:
    columns = [Column("HR@10", 3, "high"), Column("NDCG@10", 3, "high")]
    labels = {
        f"{PHONE}with ranker": "PocketRec on the device, with ranker",
        f"{PHONE}retrieval": "PocketRec on the device, retrieval alone",
        "two towers, Keras fp32": "PocketRec in Keras, retrieval alone",
        **SIMPLE,
    }
    ours = [
        Row(label, [row["hr10"], row["ndcg10"]])
        for method, label in labels.items()
        for row in run.where(method=method)
    ]
    published = [
        Row(f"{row['method']} ({row['source']})", [row["hr10"], row["ndcg10"]])
        for row in run.rows
        if row["source"] != "this run"
    ]
    variants = [
        Row(
            name, [run.number("ndcg10", method=f"on the device, {key} and int8 index: with ranker")]
        )
        for name, key in (
            ("fp32", "fp32 LiteRT"),
            ("fp16", "fp16 LiteRT"),
            ("int8 (dynamic range)", "dynamic LiteRT"),
        )
    ]
    return [
        Table("PocketRec and published models", "method", columns, [*ours[:3], *published]),
        Table("PocketRec and simple methods of the same run", "method", columns, ours),
        Table(
            "Weights of the device's models, with ranker",
            "weights",
            [Column("NDCG@10", 4, "high")],
            variants,
        ),
    ]


def _retail_targets(run: Run) -> list[Target]:
    words = {"": "items new to the customer", "_all": "all items"}
    return [
        Target(
            f"{metric} of {what}: low end of the 95% interval of the lead",
            "",
            run.figures[f"lead_{key}_low{setting}"],
            "above",
            0,
            3,
        )
        for setting, what in words.items()
        for key, metric in (("recall20", "Recall@20"), ("ndcg20", "NDCG@20"))
    ]


def _retail_tables(run: Run) -> list[Table]:
    titles = {"new_to_user": "Items new to the customer", "all": "All items"}
    return [
        Table(
            title,
            "method",
            [Column("Recall@20", 3, "high"), Column("NDCG@20", 3, "high")],
            [
                Row(label, [row["recall20"], row["ndcg20"]])
                for method, label in (OURS | SIMPLE).items()
                for row in run.where(setting=setting, method=method)
            ],
        )
        for setting, title in titles.items()
    ]


def _ranker_targets(run: Run) -> list[Target]:
    found = []
    for data in ("MovieLens-100K", "Online Retail II"):
        for what, label in (
            ("ndcg10_two_stage - ndcg10_retrieval", "NDCG@10 over retrieval alone"),
            ("auc_ranker - auc_logistic", "ROC-AUC over logistic regression"),
            ("auc_ranker - auc_lightgbm", "ROC-AUC over LightGBM"),
        ):
            low = run.number("low", data=data, what=what)
            figure = f"{data}, {label}: low end of the 95% interval of the lead"
            found.append(Target(figure, "", low, "above", 0, 4))
        ece = run.number("value", data=data, what="ece")
        found.append(Target(f"{data}, expected calibration error", "", ece, "at most", 0.02, 4))
    return found


def _ranker_tables(run: Run) -> list[Table]:
    methods = {
        "PocketRec's ranker on the device": ("ndcg10_two_stage_device", "auc_ranker_device"),
        "PocketRec's ranker in Keras": ("ndcg10_two_stage", "auc_ranker"),
        "LightGBM": ("ndcg10_lightgbm", "auc_lightgbm"),
        "logistic regression": ("ndcg10_logistic", "auc_logistic"),
        "order of retrieval": ("ndcg10_retrieval", None),
    }
    return [
        Table(
            data,
            "order of 200 candidates by",
            [Column("NDCG@10", 4, "high"), Column("ROC-AUC", 4, "high")],
            [
                Row(
                    label,
                    [
                        run.number("value", data=data, what=ndcg),
                        run.number("value", data=data, what=auc) if auc else None,
                    ],
                )
                for label, (ndcg, auc) in methods.items()
            ],
        )
        for data in ("MovieLens-100K", "Online Retail II")
    ]


def _rerank_targets(run: Run) -> list[Target]:
    beaten = sum(number(row["change_low"]) > 0 for row in run.rows)
    slowest = max(number(row["rerank_ms_p50"]) for row in run.rows)
    return [
        Target(
            "settings whose NDCG@10 is above the release's policy beyond chance",
            "settings",
            beaten,
            "exactly",
            0,
        ),
        Target("median of the stage, slowest setting", "ms", slowest, "at most", 2, 1),
    ]


def _rerank_tables(run: Run) -> list[Table]:
    chosen = {
        "policy": "the release's policy",
        "no rules": "without rules",
        "mmr 0.8": "MMR 0.8",
        "mmr 0.7": "MMR 0.7",
        "dpp 0.9": "DPP 0.9",
        "dpp 0.8": "DPP 0.8",
        "category calibration 0.3": "category calibration 0.3",
        "popularity calibration 0.5": "popularity calibration 0.5",
        "freshness 0.1": "freshness 0.1",
        "explore 0.1": "exploration 0.1",
    }
    columns = [
        Column("NDCG@10", 4, "high"),
        Column("distance within a slate", 3, "high"),
        Column("share of head items", 3, "low"),
        Column("share of the catalogue shown", 3, "high"),
    ]
    keys = ("ndcg10", "intra_list_distance", "head_share", "coverage")
    rows = [
        Row(label, [run.one(setting=setting)[key] for key in keys])
        for setting, label in chosen.items()
    ]
    return [Table("Some settings (the JSON has all)", "setting", columns, rows)]


SECTIONS = (
    Section(
        name="quality-ml1m",
        claim=(
            "The int8 models and the int8 index of a phone reach the best NDCG@10 published on this"
            " file, with models of less than 1 MB."
        ),
        command="pocketrec bench quality-ml1m --data DIR --json FILE",
        data=(
            "MovieLens-1M sequences, leave-one-out: 6,040 test users, all 3,416 items ranked, items"
            " of the history excluded."
        ),
        targets=_ml1m_targets,
        tables=_ml1m_tables,
        notes=(
            "The ranker learns from one event a user more than the published models do.",
            "The simple methods count the training events only in this run.",
        ),
        guide="[Sequences](quality.md#sequences-movielens-1m)",
    ),
    Section(
        name="quality-retail",
        claim=(
            "The next purchases of a shop's customers are ranked above the best simple method,"
            " hybrids included, for new items and for all items."
        ),
        command="pocketrec bench quality-retail --data DIR --json FILE",
        data=(
            "Online Retail II, cut in time at 80% and 90% of the lines; one case a customer:"
            " everything bought in the test period."
        ),
        targets=_retail_targets,
        tables=_retail_tables,
        notes=("The best simple method is chosen on the test itself, metric by metric.",),
        guide="[Baskets](quality.md#baskets-online-retail-ii)",
    ),
    Section(
        name="quality-ranker",
        claim=(
            "Two stages beat retrieval alone, the ranker beats LightGBM and logistic regression on"
            " the same lists and features, and its probabilities are calibrated."
        ),
        command="pocketrec bench quality-ranker --data DIR --json FILE",
        data=(
            "943 lists of MovieLens-100K and 1,741 lists of Online Retail II, 200 candidates each."
        ),
        targets=_ranker_targets,
        tables=_ranker_tables,
        notes=("MovieLens-100K has few lists, so its intervals are wide.",),
        guide="[Two stages](quality.md#two-stages-movielens-100k-and-online-retail-ii)",
    ),
    Section(
        name="rerank",
        claim=(
            "Each rule of re-ranking moves what it is for, none beats the release's policy in"
            " NDCG@10 by more than chance, and the stage takes 2 ms at the median."
        ),
        command="pocketrec bench rerank --json FILE",
        data=(
            "MovieLens-100K, validation events through the device path. The ranker learned from"
            " most of them: compare settings only."
        ),
        targets=_rerank_targets,
        tables=_rerank_tables,
        notes=("Thompson sampling and sponsored places are newer than this run.",),
    ),
)
