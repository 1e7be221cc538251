"""Readers of a bundle: hostile files, and clients with a fault."""

from benchmarks.results_page.section import Run, Section
from benchmarks.results_page.table import Column, Row, Table, Target


def _fuzz_targets(run: Run) -> list[Target]:
    figures = run.figures
    return [
        Target("crashes and hangs", "", figures["crashes"], "exactly", 0),
        Target("peak memory", "MiB", figures["peak_mib"], "below", 1024),
        Target("cases", "", figures["cases"], "at least", 100_000),
    ]


def _fuzz_tables(run: Run) -> list[Table]:
    figures = run.figures
    return [
        Table(
            "Outcome of the cases",
            "outcome",
            [Column("cases")],
            [
                Row("refused with a reason", [figures["refused"]]),
                Row("accepted, answers of the sound bundle", [figures["accepted_equal"]]),
                Row(
                    "accepted, another release (the signature refuses it)",
                    [figures["accepted_other"]],
                ),
            ],
        )
    ]


def _tables_targets(run: Run) -> list[Target]:
    figures = run.figures
    return [
        Target("tracebacks and useless refusals", "", figures["tracebacks"], "exactly", 0),
        Target("cases", "", figures["cases"], "at least", 5_000),
    ]


def _tables_tables(run: Run) -> list[Table]:
    return [
        Table(
            "Outcome of the cases",
            "form before the damage",
            [Column("read"), Column("refused")],
            [
                Row(str(row["form"]).replace("_", " "), [row["read"], row["refused"]])
                for row in run.rows
            ],
        )
    ]


def _golden_targets(run: Run) -> list[Target]:
    figures = run.figures
    return [Target("faults caught", "", figures["caught"], "exactly", figures["faults"])]


def _golden_tables(run: Run) -> list[Table]:
    alone = run.figures["caught_by_requests_alone"]
    return [
        Table(
            "Golden vectors that catch the fault",
            "kind",
            [Column("faults")],
            [
                Row("requests of users", [alone]),
                Row("only edge cases and rules, without a model", [run.figures["caught"] - alone]),
            ],
        )
    ]


SECTIONS = (
    Section(
        name="fuzz-bundle",
        claim=(
            "No damaged or hostile bundle does more to a reader than be refused: no other"
            " exception, no hang, less than 1 GiB of address space."
        ),
        command="pocketrec bench fuzz-bundle --json FILE",
        data="Mutations of a small bundle in both format versions.",
        targets=_fuzz_targets,
        tables=_fuzz_tables,
        notes=(
            "This run was cut short by `--minutes`; earlier runs of 100,000 cases had no crash.",
        ),
        guide="[Security](server/security.md)",
    ),
    Section(
        name="fuzz-tables",
        claim=(
            "No damaged table does more to `pocketrec data` than be refused: no other exception,"
            " and each refusal has a reason of at most 12 lines."
        ),
        command="pocketrec bench fuzz-tables --json FILE",
        data=(
            "Small tables in eight forms, damaged at random, compressed or not, with recipe keys"
            " that may be wrong."
        ),
        targets=_tables_targets,
        tables=_tables_tables,
        guide="[Recipe](recipe.md)",
    ),
    Section(
        name="golden-mutations",
        claim="A client with any fault of the list fails the golden vectors of a release.",
        command="pocketrec bench golden-mutations --json FILE",
        data=(
            "Each line of `benchmarks/readers/golden_faults.txt` changes one place of the Python"
            " reader."
        ),
        targets=_golden_targets,
        tables=_golden_tables,
        guide="[App developer's guide](app-developer.md)",
    ),
)
