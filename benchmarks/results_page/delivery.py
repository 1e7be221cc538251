"""From the publisher to a fleet: deltas, bad networks, kills, halts."""

from benchmarks.results_page.section import Run, Section, number
from benchmarks.results_page.table import Column, Row, Table, Target

DELTAS = {
    "this project's": "PocketRec",
    "bsdiff 4": "bsdiff",
    "zstd 19, long, old as dictionary": "zstd with the old file as dictionary",
    "the whole file, xz": "whole file, xz",
    "bound by rows": "bound by rows",
}


def _sync_targets(run: Run) -> list[Target]:
    figures = run.figures
    ratio = figures["delta_bytes"] / figures["changed_bytes"]
    return [
        Target("1% of the rows: delta over changed bytes", "", ratio, "at most", 1.2, 2),
        Target("check with nothing new, body", "bytes", figures["check_bytes"], "at most", 2000),
    ]


def _sync_tables(run: Run) -> list[Table]:
    files = dict.fromkeys(str(row["file"]) for row in run.rows if "file" in row)
    peers = [
        Table(
            f"Delta of `{name.split(', ')[0]}`, {name.split(', ')[1]} changed",
            "method",
            [Column("bytes", 0, "low"), Column("made in, s", 3, "low")],
            [
                Row(label, [row["bytes"], row["made_s"]], competes=method != "bound by rows")
                for method, label in DELTAS.items()
                for row in run.where(file=name, method=method)
            ],
        )
        for name in files
    ]
    names = {"first": "first sync", "rows": "1% of the rows", "prices": "1% of the prices"}
    syncs = Table(
        "What a phone downloads, 200,000 items of 64 dimensions",
        "sync",
        [Column("whole files, kB", 1), Column("deltas, kB", 1), Column("metadata, kB", 1)],
        [
            Row(
                label,
                [
                    number(row[key]) / 1000
                    for key in ("full_bytes", "delta_bytes", "metadata_bytes")
                ],
            )
            for release, label in names.items()
            for row in run.where(release=release)
        ],
    )
    million = Table(
        "Publish of a million items of which 1% changed",
        "figure",
        [Column("value", 1)],
        [
            Row("time, s", [run.figures["publish_s_1m"]]),
            Row("peak memory, MiB", [run.figures["publish_peak_mib_1m"]]),
        ],
    )
    applied = Table(
        "The matrix of rows on the phone",
        "way",
        [Column("ms", 1)],
        [
            Row("made from its delta", [run.figures["apply_ms"]]),
            Row("written as a whole file", [run.figures["write_ms"]]),
        ],
    )
    return [syncs, *peers, applied, million]


def _fleet_targets(run: Run) -> list[Target]:
    figures = run.figures
    return [
        Target("devices that failed", "", figures["failed"], "exactly", 0),
        Target(
            "devices current in spite of faults, of 1,000",
            "",
            figures["faulty_converged"],
            "exactly",
            figures["faulty_devices"],
        ),
        Target("bytes over those without faults", "", figures["bytes_ratio"], "at most", 1.3, 2),
    ]


def _fleet_tables(run: Run) -> list[Table]:
    parts = {"install": "install", "update": "update by deltas", "faults": "update through faults"}
    waves = Table(
        "The fleet",
        "wave",
        [Column("devices"), Column("wall time, s"), Column("bytes a device"), Column("most syncs")],
        [
            Row(label, [row[key] for key in ("devices", "wall_s", "bytes_each", "most_tries")])
            for part, label in parts.items()
            for row in run.where(part=part)
        ],
    )
    checks = Table(
        "Checks with nothing new, kept connections, one process on one core",
        "server",
        [Column("checks a second", 0, "high"), Column("p99, ms", 1, "low")],
        [
            Row(label, [row["checks_per_s"], row["p99_ms"]])
            for server, label in (
                ("waitress", "PocketRec on waitress"),
                ("gunicorn gthread", "PocketRec on gunicorn, threads"),
                ("gunicorn sync", "PocketRec on gunicorn, sync"),
                ("nginx", "nginx over the same folder"),
            )
            for row in run.where(server=server, connections="kept", status=304)
        ],
    )
    memory = Table(
        "Peak memory",
        "process",
        [Column("MiB")],
        [
            Row("server", [run.figures["server_mib"]]),
            Row("worker that syncs 16 devices at a time", [run.figures["worker_mib"]]),
        ],
    )
    return [waves, checks, memory]


def _fault_targets(run: Run) -> list[Target]:
    words = {
        "lost": "events lost",
        "unanswered": "phones without an answer",
        "stuck": "phones that did not converge at the next sync",
    }
    return [Target(label, "", run.figures[key], "exactly", 0) for key, label in words.items()]


def _fault_tables(run: Run) -> list[Table]:
    rows = [Row(str(row["job"]), [row["kill_points"]]) for row in run.rows]
    total = Row("together", [run.figures["kill_points"]])
    return [Table("Kills by job", "job", [Column("kills")], [*rows, total])]


def _halting_targets(run: Run) -> list[Target]:
    bad = run.number("new_halted", name="fails everywhere")
    forged = run.number("new_halted", name="everywhere, 1 network forges success")
    sound = run.number("new_halted", name="sound, 1 network forges failure")
    return [
        Target("runs that halt a release that fails everywhere", "", bad, "exactly", 1, 2),
        Target("the same, one network forges success", "", forged, "exactly", 1, 2),
        Target(
            "runs that halt a sound release, one network forges failure", "", sound, "exactly", 0, 2
        ),
    ]


def _halting_tables(run: Run) -> list[Table]:
    columns = [
        Column("runs halted, rule by network", 2),
        Column("runs halted, rule by outcome", 2),
        Column("phones failed, rule by network"),
        Column("phones failed, rule by outcome"),
    ]
    keys = ("new_halted", "old_halted", "new_failed", "old_failed")
    rows = [Row(str(row["name"]), [row[key] for key in keys]) for row in run.rows]
    bad = [row for row in rows if not row.subject.startswith("sound")]
    sound = [row for row in rows if row.subject.startswith("sound")]
    return [
        Table("Releases that fail (halting is right)", "release", columns, bad),
        Table("Sound releases (halting is wrong)", "release", columns, sound),
    ]


SECTIONS = (
    Section(
        name="sync",
        claim=(
            "A change of 1% of a catalogue's rows costs a phone at most 1.2 times their bytes, and"
            " a check with nothing new at most 2 kB."
        ),
        command="pocketrec bench sync --json FILE",
        data="A drawn release of 200,000 items, 30 MB; a real phone and server over loopback.",
        targets=_sync_targets,
        tables=_sync_tables,
        notes=("A check is one request; once a day a second one asks for a newer root.",),
        guide="[Operator's guide](operator.md)",
    ),
    Section(
        name="fleet",
        claim=(
            "One server updates 10,000 devices without a failure, and 1,000 devices converge behind"
            " a proxy that damages a fifth of all answers."
        ),
        command="pocketrec bench fleet --json FILE",
        data="Drawn releases; each device is a folder of its own and syncs over loopback.",
        targets=_fleet_targets,
        tables=_fleet_tables,
        notes=("gunicorn is no longer a dependency; its rows show why.",),
        guide="[Operator's guide](operator.md)",
    ),
    Section(
        name="faults",
        claim=(
            "`kill -9` at any step of a publish, an install, a sync or an upload loses no event,"
            " and the phone then answers from a verified release."
        ),
        command="pocketrec bench faults --json FILE",
        data="A small release with ONNX models; each job is killed before each of its steps.",
        targets=_fault_targets,
        tables=_fault_tables,
        guide="[Operator's guide](operator.md)",
    ),
    Section(
        name="halting",
        claim=(
            "A release that fails is halted soon although one network forges success, and a sound"
            " one is not halted although one network forges failure."
        ),
        command="pocketrec bench halting --json FILE",
        data=(
            "Simulated outcomes at 600 an hour, limit 5% of 100 devices, 30% of the phones behind"
            " five carriers unless the row says otherwise; 20 runs a row."
        ),
        targets=_halting_targets,
        tables=_halting_tables,
        notes=(
            "The rule by network is the one in use; the rule by outcome is its predecessor.",
            "Phones failed: the median at the halt, over the runs that halted.",
        ),
        guide="[Halts count networks](decisions/0019-halts-count-networks.md)",
    ),
)
