"""Every code block of the README and the guides runs, or says by its language why it does not.

Python blocks run in order, in one namespace a page. Shell lines that begin with `pocketrec` run
too, in a scratch folder with a tiny release; those that would train, need other machines or take
minutes are parsed with all their options. A block of the language `console` is a transcript: its
commands begin with `$`, and those that run must print the lines below them.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import pytest

from pocketrec.cli import main

Step = dict[str, Any]
MARK = re.compile(r"^<!-- not run: (.+) -->$")
FENCE = re.compile(r"^(`{3,})(\S*)$")

# Shown, and not run: output, diagrams, other tools' files. nginx runs in test_operator_page.py.
SHOWN = {
    "",
    "text",
    "hex",
    "http",
    "nginx",
    "bazel",
    "mermaid",
    "sql",
    "kotlin",
    "swift",
    "typescript",
}
FILES = {"mkdir", "mv", "cp"}
TOOLS = {"pip", "make", "git", "python", ".venv/bin/pytest"}  # not ours to test here

# Beginning of a command -> why it is parsed and not run.
PARSED = {
    "train": "trains for minutes",
    "tune": "trains for minutes",
    "evaluate": "needs a trained run",
    "compare": "needs two evaluations of trained runs",
    "export --kit android": "needs LiteRT models, which the tiny release lacks",
    "export": "needs a trained run",  # but for other kits of a bundle
    "bad-bundles": "takes 5 s, and test_bad_bundles.py runs it",
    "bench": "measures for minutes",
    "db": "needs PostgreSQL",
    "mirror --repo repo/ --to s3:": "needs a bucket",
    "mirror --repo repo/ --to /srv": "writes outside the scratch folder",
    "device recommend --bundle work/bundle --home phone --offline": "needs the guide's own bundle",
    "device simulate": "simulates for minutes; its tests are in tests/pocketrec",
    "experiment interleaving": "needs exposures, and tests/pocketrec/test_interleaving.py runs it",
    "policy-value": "needs exploration, and tests/pocketrec/test_policy_value.py runs it",
    "serve --repo repo/ --notifications": "needs the reader's secrets",
    "experiment advance": "needs looks, and tests/pocketrec/test_advance.py runs it",
    "rollout advance": "needs outcomes, and tests/pocketrec/test_advance.py runs it",
    "experiment report": "needs exposures, and tests/experiments/analysis/test_page.py runs it",
}

RECIPE = """name = "shop"
[data]
interactions = "interactions.csv"
items = "items.csv"
[columns]
user = "customer"
item = "sku"
timestamp = "bought_at"
item_id = "sku"
title = "name"
"""
REPOSITORY = (
    "pocketrec keys make --out keys/",
    "pocketrec repo init --repo repo/ --keys keys/",
    "pocketrec publish bundle/ --repo repo/ --keys keys/ --name winter",
)
ONLINE = ("mkdir online", "cp keys/snapshot.pem keys/timestamp.pem keys/brake.pem online/")
PHONE = ("pocketrec device install --home phone/ bundle/",)
SERVER = ("pocketrec serve --repo repo/",)
SYNC = "--server http://127.0.0.1:8080 --root repo/metadata/1.root.json --consent"
EVENTS = tuple(  # two people and two items: a recommender needs that many
    line
    for phone, item in (("phone", "ITEM_ID"), ("phone-2", "ANOTHER"))
    for line in (
        f"pocketrec device install --home {phone}/ bundle/",
        f"pocketrec device feedback --home {phone}/ {item} --event like",
        f"pocketrec device sync --home {phone}/ {SYNC}",
    )
)
# What a page expects to be there, beside the tables and bundles that every page gets.
BEFORE = {
    "README.md": (REPOSITORY[0], *ONLINE, *PHONE),
    "docs/app-developer.md": (*REPOSITORY, *SERVER),
    "docs/device/kits.md": REPOSITORY,
    "docs/ml-engineer.md": (*REPOSITORY, *SERVER, *EVENTS),
    "docs/device/privacy.md": PHONE,
    "docs/device/simulator.md": (*REPOSITORY, *PHONE, *SERVER),
    "docs/server/experiment-report.md": (*REPOSITORY, *SERVER),
    "docs/server/experiments.md": (*REPOSITORY, *SERVER),
    "docs/server/experiment-simulated.md": REPOSITORY,
    "docs/server/events.md": (*REPOSITORY, *SERVER, *EVENTS),
    "docs/server/monitoring.md": (*REPOSITORY, *SERVER, *EVENTS),
    "docs/server/notifications.md": REPOSITORY,
    "docs/server/policy-value.md": (*REPOSITORY, *SERVER, *EVENTS),
}
# Words of the pages that stand for the reader's own.
OURS = {"ITEM_ID": "item 7", "ANOTHER": "item 14"}
SMALL = {"300": "4"}  # simulated phones, so that they live for seconds
ASKED = {"0a1b2c3d4e5f": ("pocketrec admin token list --repo repo/ --json", r'"id": "(\w+)"')}
TYPED = {"device browse": "s\nq\n"}


@dataclass(frozen=True)
class Block:
    page: str
    line: int  # of the fence, from 1
    language: str
    text: str
    mark: str | None


def pages(repository: Path) -> list[Path]:
    top = [path for path in repository.glob("*.md") if path.name != "CHANGELOG.md"]
    folders = (repository / "docs" / name for name in (".", "device", "layouts", "server"))
    pages = (path for folder in folders for path in folder.glob("*.md"))
    guides = [path for path in pages if path.stem != "cli-reference"]
    return sorted([*top, *guides, repository / "bundle" / "FORMAT.md"])


def blocks(repository: Path) -> list[Block]:
    found = []
    for path in pages(repository):
        lines = path.read_text().splitlines()
        start = None
        for number, line in enumerate(lines, 1):
            fence = FENCE.match(line.strip())
            if not fence:
                continue
            if start is None:
                start, language = number, fence[2]
                continue
            mark = MARK.match(lines[start - 2]) if start > 1 else None
            text = "\n".join(lines[start : number - 1]) + "\n"
            name = str(path.relative_to(repository))
            found.append(Block(name, start, language, text, mark[1] if mark else None))
            start = None
        assert start is None, f"{path}: line {start} opens a block that nothing closes"
    return found


def shell_lines(text: str) -> list[list[str]]:
    """Words of each line, continuations joined; the prompt and comments left out."""
    lines = text.replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line.removeprefix("$ "), True))]


def commands(block: Block) -> list[list[str]]:
    """Words of the commands of a block; a transcript's begin with a prompt."""
    if block.language == "console":
        lines = [line for line in block.text.splitlines() if line.startswith("$ ")]
        return shell_lines("\n".join(lines))
    return shell_lines(block.text) if block.language == "sh" else []


def printed(block: Block) -> str:
    """Return what a transcript of one command shows below it."""
    return block.text.partition("\n")[2]


def parsed_only(words: list[str]) -> str | None:
    line = " ".join(words[1:])
    if line.startswith(("export --kit ios --base", "export --kit web --base")):
        return None
    if line.startswith("device simulate") and "--experiment" in words and "--keys" not in words:
        return None
    return next((why for start, why in PARSED.items() if line.startswith(start)), None)


def step_of(words: list[str]) -> Step | None:
    """What the runner does for a line; None for a line that is parsed only, or not ours."""
    tool = words[0]
    if tool in FILES:
        return {"kind": "files", "words": words}
    if tool != "pocketrec" or parsed_only(words):
        return None
    typed = next((t for c, t in TYPED.items() if " ".join(words[1:]).startswith(c)), "")
    words = [(OURS | SMALL).get(word, word) for word in words]
    kind = "serve" if words[1] == "serve" else "shell"
    return {"kind": kind, "words": words, "typed": typed}


def steps_of(found: list[Block]) -> list[Step]:
    steps = []
    for block in found:
        here = []
        if block.language == "python":
            here = [{"kind": "block", "text": block.text}]
        elif named := re.match(r"# (\S+\.(?:toml|json))\n", block.text):
            here = [{"kind": "write", "name": named[1], "text": block.text}]
        else:
            here = [step for words in commands(block) if (step := step_of(words))]
        steps += [{**step, "line": block.line} for step in here]
    return steps


@pytest.fixture(scope="module")
def all_blocks(repository: Path) -> list[Block]:
    return blocks(repository)


@pytest.fixture(scope="module")
def scratch(tiny_release: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What every page finds: two bundles and the tables of a shop."""
    folder = tmp_path_factory.mktemp("guides") / "folder"
    for name, title in (("bundle", "winter"), ("bundle-2", "spring"), ("work/bundle", "spring")):
        shutil.copytree(tiny_release, folder / name)
        manifest = folder / name / "manifest.json"
        manifest.write_text(json.dumps(json.loads(manifest.read_bytes()) | {"name": title}))
    (folder / "shop.toml").write_text(RECIPE)
    for name in ("run", "report-old", "report-new"):
        (folder / "work" / name).mkdir()
    for day in ("exports", "exports/2026-11-24"):
        (folder / day).mkdir(parents=True, exist_ok=True)
        rows = [f"u{n % 7},s{n % 5},{1_700_000_000 + n * (1 + len(day))}" for n in range(40)]
        table = "\n".join(["customer,sku,bought_at", *rows])
        (folder / day / "interactions.csv").write_text(table + "\n")
        (folder / day / "items.csv").write_text(
            "sku,name\n"
            + "".join(f"s{n},Mug {n}\n" for n in range(5))
            + "".join(f"{each},Film\n" for each in OURS.values())  # what the phones interact with
        )
    return folder


@pytest.fixture(scope="module")
def results(all_blocks: list[Block], scratch: Path, repository: Path) -> dict[str, list[Step]]:
    jobs: list[Step] = []
    for page in sorted({block.page for block in all_blocks}):
        steps = steps_of([b for b in all_blocks if b.page == page and not b.mark])
        if not any(step["kind"] in ("block", "shell", "serve") for step in steps):
            continue
        folder = scratch.parent / page.replace("/", "-")
        shutil.copytree(scratch, folder)
        before = [
            {**step, "line": 0}
            for line in BEFORE.get(page, ())
            if (step := step_of(shlex.split(line)))
        ]
        asked = {word: (shlex.split(line), form) for word, (line, form) in ASKED.items()}
        jobs.append({"page": page, "folder": str(folder), "steps": before + steps, "asked": asked})
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(sys.path),
        "POCKETREC_KEY_PASSPHRASE": "a passphrase of the guides",
        "COLUMNS": "200",
    }
    done = subprocess.run(
        [sys.executable, repository / "tests/support/guide_runner.py"],
        input=json.dumps(jobs),
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    if os.environ.get("GUIDE_COSTS"):
        Path(os.environ["GUIDE_COSTS"]).write_text(done.stdout)
    found: dict[str, list[Step]] = {str(job["page"]): [] for job in jobs}
    for line in done.stdout.splitlines():
        result = json.loads(line)
        found[result["page"]].append(result)
    for job in jobs:
        assert len(found[str(job["page"])]) == len(job["steps"]), job["page"]
    return found


def test_every_block_has_a_language_that_is_run_or_only_shown(all_blocks):
    run = {"python", "sh", "console", "toml", "json"}
    unknown = {
        f"{block.page}:{block.line}: {block.language}"
        for block in all_blocks
        if block.language not in run | SHOWN and not block.language.startswith("{")
    }
    assert unknown == set()


def test_no_block_is_marked_as_not_run_unseen(all_blocks):
    """Whoever marks a block changes this count, and a reviewer sees it."""
    assert Counter(block.page for block in all_blocks if block.mark) == {}


def test_every_block_of_every_page_runs(results):
    failed = [
        f"{page}:{each['line']}: {each['step']}: exit code {each['code']}\n{each['text']}"
        for page, found in results.items()
        for each in found
        if each["code"] != 0
    ]
    assert not failed, "\n".join(failed)


def test_transcripts_show_what_the_commands_print(all_blocks, results):
    shown = {
        (block.page, block.line): printed(block)
        for block in all_blocks
        if block.language == "console" and not parsed_only(commands(block)[0])
    }
    assert len(shown) >= 2
    ran = {(page, each["line"]): each["text"] for page, found in results.items() for each in found}
    assert {place: ran[place] for place in shown} == shown


def test_each_transcript_names_the_command_of_the_next_one(all_blocks):
    page = "docs/bring-your-own-data.md"
    transcripts = [b for b in all_blocks if b.page == page and b.language == "console"]
    told = [re.findall(r"^next: (.+)$", block.text, re.MULTILINE) for block in transcripts[:-1]]
    assert told == [[shlex.join(commands(block)[0])] for block in transcripts[1:]]
    assert len(transcripts) == 6


def test_most_commands_run_and_are_not_only_parsed(all_blocks):
    lines = [words for b in all_blocks for words in commands(b)]
    ours = [words for words in lines if words[0] == "pocketrec"]
    run = [words for words in ours if parsed_only(words) is None]
    assert len(run) > 0.6 * len(ours)


def test_other_tools_of_the_blocks_are_known(all_blocks):
    lines = [words for b in all_blocks for words in commands(b)]
    others = {words[0] for words in lines} - {"pocketrec", "export", *FILES}
    assert others <= TOOLS


def parse(words: list[str]) -> None:
    """Parse a command with all of its options, and run nothing."""
    command: click.Command = main
    context = click.Context(main, info_name="pocketrec")
    rest = words[1:]
    while isinstance(command, click.Group):
        _, found, rest = command.resolve_command(context, list(rest))
        assert found is not None
        command, context = found, click.Context(found, parent=context, info_name=found.name)
    command.make_context(command.name, list(rest), parent=context.parent)


def test_commands_that_are_not_run_are_parsed(all_blocks, scratch, monkeypatch):
    monkeypatch.chdir(scratch)
    for folder in ("events", "work/events"):
        (scratch / folder).mkdir(exist_ok=True)
    root = "metadata/1.root.json"
    for file in ("notifications.toml", "variety.json", f"repo/{root}", f"work/repo/{root}"):
        (scratch / file).parent.mkdir(parents=True, exist_ok=True)
        (scratch / file).touch()
    # `--offline` acts when it is parsed, for the rest of the process.
    monkeypatch.setattr("pocketrec.commands.device.options.forbid_sockets", lambda: None)
    wrong = []
    for block in all_blocks:
        for words in commands(block):
            if words[0] == "pocketrec" and parsed_only(words):
                try:
                    parse(words)
                except click.ClickException as err:
                    wrong.append(f"{block.page}:{block.line}: {shlex.join(words)}: {err.message}")
    assert not wrong, "\n".join(wrong)


def test_settings_and_data_of_the_blocks_are_well_formed(all_blocks):
    for block in all_blocks:
        if block.language == "toml":
            tomllib.loads(block.text)
        if block.language == "json":
            try:
                json.loads(block.text)
            except ValueError:
                assert [json.loads(line) for line in block.text.splitlines()]


def options(words: list[str]) -> tuple[str, set[str]] | None:
    """The command that text names, and its options; None if it names a group or nothing."""
    command: click.Command = main
    context = click.Context(main, info_name="pocketrec")
    path: list[str] = []
    for word in words[1:]:
        if not isinstance(command, click.Group) or word.startswith("-"):
            break
        found = command.get_command(context, word)
        if found is None:
            return None
        command, path = found, [*path, word]
    names = {opt for p in command.params for opt in (*p.opts, *p.secondary_opts)}
    return " ".join(path), names | {"-h", "--help", "--version"}


def test_options_named_in_text_exist(repository):
    """In sentences and tables, as `pocketrec publish --percent 5` or `rollout pause R`."""
    wrong = []
    for path in pages(repository):
        for span in re.findall(r"(?<!`)`([^`\n]+)`(?!`)", path.read_text()):
            words = span.split()
            if "..." in words or words[0] not in (
                *main.list_commands(click.Context(main)),
                "pocketrec",
            ):
                continue
            words = words if words[0] == "pocketrec" else ["pocketrec", *words]
            known = options(words)
            named = {word for word in words if re.fullmatch(r"--[a-z][a-z-]*", word)}
            if named and (known is None or not named <= known[1]):
                wrong.append(f"{path.relative_to(repository)}: {span}")
    assert not wrong
