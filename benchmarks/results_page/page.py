"""The page: contents, then a section a benchmark."""

from collections.abc import Mapping
from pathlib import Path

from benchmarks import BENCHMARKS
from benchmarks.results_page import (
    cold,
    delivery,
    experiments,
    line,
    off_policy,
    own_data,
    phone,
    quality,
    readers,
    rolling,
    work,
)
from benchmarks.results_page.section import Run, Section, read_run
from benchmarks.results_page.table import targets_markdown

GROUPS: Mapping[str, tuple[Section, ...]] = {
    "The whole line": line.SECTIONS,
    "Quality": (*quality.SECTIONS, *cold.SECTIONS, *own_data.SECTIONS, *rolling.SECTIONS),
    "Experiments": (*experiments.SECTIONS, *off_policy.SECTIONS),
    "The phone": phone.SECTIONS,
    "Delivery": delivery.SECTIONS,
    "Readers of a bundle": readers.SECTIONS,
    "Training and catalogues": work.SECTIONS,
}
RESULTS = Path(__file__).parent.parent / "results"

HEAD = """\
# Benchmarks

One section a benchmark: its claim, the command that repeats it, what was measured, and whether the
claim's targets are reached. `make docs` writes this page from
[stored results](../benchmarks/README.md), and a test compares the two, so do not edit it.

- **Bold** is the best of a column, whoever it is. Random orders and bounds do not compete.
- A target is the limit that the claim sets; the list below counts those reached. A target that is
  not reached stays on the page.
- Times depend on the machine. Compare values within one table.
- `pocketrec bench NAME --json FILE` runs one benchmark, `pocketrec bench all --json FOLDER` all.
"""


def read_runs(results: Path = RESULTS) -> dict[str, Run]:
    """Read all stored results, by file name without its ending."""
    return {path.stem: read_run(path) for path in sorted(results.glob("*.json"))}


def page(runs: Mapping[str, Run]) -> str:
    """Return the whole page as Markdown."""
    lines = [HEAD]
    for group, sections in GROUPS.items():
        lines.append(f"**{group}**\n")
        lines += [_entry(section, runs[section.name]) for section in sections]
        lines.append("")
    missing = [name for name in BENCHMARKS if name not in runs]
    lines.append(
        f"Without a stored result: {', '.join(f'`{name}`' for name in missing)}.\n"
        if missing
        else ""
    )
    for group, sections in GROUPS.items():
        lines.append(f"## {group}\n")
        lines += [section_markdown(section, runs[section.name]) for section in sections]
    return "\n".join(lines).rstrip() + "\n"


def _entry(section: Section, run: Run) -> str:
    """Line of the contents: the benchmark and how many of its targets are reached."""
    return f"- [{section.name}](#{section.name}): {_verdict(section, run)}"


def _verdict(section: Section, run: Run) -> str:
    targets = section.targets(run)
    reached = sum(target.is_reached for target in targets)
    if not targets:
        return "no numeric target"
    return f"{reached} of {len(targets)} reached"


def section_markdown(section: Section, run: Run) -> str:
    """Return one section."""
    parts = [f"### {section.name}", section.claim, _facts(section, run)]
    if targets := section.targets(run):
        parts += [f"Targets ({_verdict(section, run)}):", targets_markdown(targets)]
    parts += [table.markdown() for table in section.tables(run)]
    if section.notes:
        parts.append("\n".join(f"- {note}" for note in section.notes))
    return "\n\n".join(parts) + "\n"


def _facts(section: Section, run: Run) -> str:
    file = f"[{section.name}.json](../benchmarks/results/{section.name}.json)"
    lines = [
        f"- Command: `{section.command}`",
        f"- Data: {section.data}",
        f"- Run: {run.date}, {_machine(run)}, {_commit(run)}; all figures in {file}.",
    ]
    if section.guide:
        lines.append(f"- Explained in: {section.guide}.")
    return "\n".join(lines)


def _machine(run: Run) -> str:
    if run.machine is None:
        return "machine in the table"
    cores = int(run.machine["cores"])
    memory = float(run.machine["memory_bytes"]) / 1e9
    name = str(run.machine["processor"]).replace("(R)", "").replace(" Processor", "")
    word = "core" if cores == 1 else "cores"
    return f"{name}, {cores} {word}, {memory:.0f} GB of memory"


def _commit(run: Run) -> str:
    if run.commit is None:
        return "commit not recorded"
    changed = ", with changes" if "+" in run.commit else ""
    return f"commit `{run.commit[:7]}`{changed}"
