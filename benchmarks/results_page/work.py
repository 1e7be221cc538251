"""Work on the publisher's side: epochs, releases from releases, large catalogues."""

from benchmarks.results_page.section import Run, Section, number
from benchmarks.results_page.table import Column, Row, Table, Target

BATCHES = {
    "one padded length, every place scored": "padded to one length",
    "lengths of the data, real targets scored": "PocketRec, lengths of the data",
}
RELEASES = {
    "afresh": "trained afresh",
    "afresh_rotated": "trained afresh, rotated",
    "warm": "trained from the previous release",
    "warm_rotated": "PocketRec: from the previous release, rotated",
}


def _epoch_tables(run: Run) -> list[Table]:
    columns = [
        Column("epoch, s", 1, "low"),
        Column("compiling, s", 1, "low"),
        Column("positions computed", 0, "low"),
        Column("positions scored", 0, "low"),
    ]
    keys = ("epoch_s", "compile_s", "positions", "scored")
    rows = [
        Row(label, [run.one(batches=batches)[key] for key in keys])
        for batches, label in BATCHES.items()
    ]
    return [Table("One epoch of the two towers", "batches", columns, rows)]


def _jax_tables(run: Run) -> list[Table]:
    columns = [
        Column("epoch, median s", 2, "low"),
        Column("epochs"),
        Column("NDCG@10, validation", 4),
    ]
    kinds = {"gpu NVIDIA H200": "NVIDIA H200", "cpu cpu": "16 processor cores"}
    rows = [
        Row(
            f"{kinds[str(row['device'])]}, {row['precision']}",
            [row[key] for key in ("epoch_s_median", "n_epochs", "ndcg10_valid")],
        )
        for row in run.rows
    ]
    return [Table("Epochs of `recipes/ml1m.toml`", "device and precision", columns, rows)]


def _warm_targets(run: Run) -> list[Target]:
    ours, peer = run.one(release="warm_rotated"), run.one(release="afresh")
    return [
        Target(
            "int8 NDCG@10, upper end of the 95% interval, beside a release trained afresh",
            "",
            number(ours["high"]),
            "at least",
            number(peer["test_ndcg10_int8"]),
            3,
        ),
        Target(
            "difference of the int8 rows, beside a release trained afresh",
            "bytes",
            number(ours["difference_bytes"]),
            "below",
            number(peer["difference_bytes"]),
        ),
    ]


def _warm_tables(run: Run) -> list[Table]:
    columns = [
        Column("NDCG@10, int8, test", 4, "high"),
        Column("difference of the rows, bytes", 0, "low"),
        Column("cosine with the previous rows", 3, "high"),
        Column("training, s"),
    ]
    keys = ("test_ndcg10_int8", "difference_bytes", "cosine", "train_s")
    rows = [
        Row(label, [run.one(release=release)[key] for key in keys])
        for release, label in RELEASES.items()
    ]
    return [Table("The next release", "release", columns, rows)]


def _catalogue_targets(run: Run) -> list[Target]:
    figures = run.figures
    return [
        Target("peak memory", "MiB", figures["peak_mib"], "below", 4096),
        Target(
            "rows that an update of 20,000 items changes",
            "",
            figures["update_changed_rows"],
            "at most",
            20_000,
        ),
    ]


def _catalogue_tables(run: Run) -> list[Table]:
    names = {
        "grow": "grow to a million items",
        "update": "add 1%, change 1%, withdraw 0.5%",
        "compact": "withdraw until rows are dropped",
        "rebuilt": "cluster and pack again (the alternative to an update)",
    }
    columns = [
        Column("time, s"),
        Column("rows changed"),
        Column("rows moved"),
        Column("rows dropped"),
    ]
    keys = ("seconds", "changed_rows", "moves", "removed")
    rows = [
        Row(label, [run.one(step=step).get(key) for key in keys]) for step, label in names.items()
    ]
    return [Table("Steps, one core", "step", columns, rows)]


SECTIONS = (
    Section(
        name="epoch-time",
        claim=(
            "On short histories an epoch with batches of the data's own lengths is several times"
            " shorter than one with all windows padded to `max_history`."
        ),
        command="pocketrec bench epoch-time --data DIR --json FILE",
        data="MovieTweetings, 83,145 training events; half of the users have four or fewer.",
        tables=_epoch_tables,
        notes=("Each length is compiled once a training.",),
        guide="[Short histories](quality.md#sequences-movielens-1m)",
    ),
    Section(
        name="jax-epochs",
        claim="The towers are plain Keras layers: the same code trains on an accelerator by JAX.",
        command=(
            "KERAS_BACKEND=jax python -m benchmarks.releases.jax_epochs recipes/ml1m.toml DIR"
            " --json FILE"
        ),
        data="MovieLens-1M sequences, the recipe's batches, loss and schedule.",
        tables=_jax_tables,
        notes=("JAX is not a requirement of the project. Validation is on 1,500 users.",),
        guide="[What a GPU gives](quality.md#sequences-movielens-1m)",
    ),
    Section(
        name="warm-start",
        claim=(
            "A release trained from the previous one and rotated into its space ranks no worse than"
            " one trained afresh and costs phones fewer bytes."
        ),
        command="pocketrec bench warm-start --json FILE",
        data=(
            "MovieLens-100K, leave-one-out; the previous release knows the first 90% of the events."
        ),
        targets=_warm_targets,
        tables=_warm_tables,
        notes=("One training each; intervals are over users.",),
        guide="[ML engineer's guide](ml-engineer.md)",
    ),
    Section(
        name="catalogue",
        claim=(
            "A million items join, change and leave without training in minutes and less than 4"
            " GiB, and an update changes no other rows."
        ),
        command="pocketrec bench catalogue --json FILE",
        data="Items drawn from MovieLens-100K's films, known by content alone.",
        targets=_catalogue_targets,
        tables=_catalogue_tables,
        notes=("A row moves where it no longer follows the row that it followed before.",),
        guide="[Export](export.md#a-million-items)",
    ),
)
