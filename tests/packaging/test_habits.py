"""What the project promises its contributors: changelog, version, decisions, hooks, templates."""

import re
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml

from pocketrec.cli import main

LINT = ("lint-format", "lint-style", "lint-types", "lint-imports")
SECTION = re.compile(r"^## (\d+\.\d+\.\d+) - (unreleased|\d{4}-\d\d-\d\d)$", re.MULTILINE)
KINDS = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


@pytest.fixture(scope="module")
def declared(repository: Path) -> str:
    return tomllib.loads((repository / "pyproject.toml").read_text())["project"]["version"]


def test_the_newest_section_of_the_changelog_is_the_version(repository: Path, declared: str):
    text = (repository / "CHANGELOG.md").read_text()
    found = SECTION.findall(text)
    assert len(found) == len(re.findall("^## ", text, re.MULTILINE)), "a heading of another form"
    assert found[0][0] == declared
    versions = [tuple(map(int, each.split("."))) for each, _ in found]
    assert versions == sorted(set(versions), reverse=True)
    dates = [date for _, date in found[1:]]
    assert "unreleased" not in dates
    assert dates == sorted(dates, reverse=True)


def test_the_changelog_groups_changes_as_keep_a_changelog_does(repository: Path):
    text = (repository / "CHANGELOG.md").read_text()
    assert set(re.findall(r"^### (.+)$", text, re.MULTILINE)) <= KINDS


def test_no_file_but_pyproject_states_the_version(repository: Path):
    names = re.compile(
        r"""^\s*(__version__|VERSION|version)\s*[:=].*["']\d+\.\d+\.\d+["']""", re.MULTILINE
    )
    rooms = (
        "bundle",
        "training",
        "export",
        "edge_runtime",
        "sync_server",
        "experiments",
        "pocketrec",
    )
    paths = [path for room in rooms for path in (repository / room).rglob("*.py")]
    assert paths
    assert [path for path in paths if names.search(path.read_text())] == []


def test_the_installed_version_is_the_declared_one(declared: str):
    assert version("pocketrec") == declared, "run `make setup`"


def test_the_command_line_reports_the_version(runner):
    assert runner.invoke(main, ["--version"]).output.split()[-1] == version("pocketrec")


def test_the_index_of_decisions_lists_each_number_once(repository: Path):
    folder = repository / "docs" / "decisions"
    rows = re.findall(
        r"^\| (?:\[(\d{4})\]\((\S+)\)|(\d{4})) \| (.+) \|$",
        (folder / "README.md").read_text(),
        re.MULTILINE,
    )
    numbers = [linked or plain for linked, _, plain, _ in rows]
    assert numbers == [f"{n:04}" for n in range(1, len(numbers) + 1)]
    there = {path.name for path in folder.glob("[0-9]*.md")}
    assert {name for _, name, _, _ in rows if name} == there
    assert all(name.startswith(linked) for linked, name, _, _ in rows)
    assert [plain for _, _, plain, text in rows if plain and "Not used" in text] == ["0003"]


def test_the_hooks_are_the_pieces_of_make_lint(repository: Path):
    (local,) = yaml.safe_load((repository / ".pre-commit-config.yaml").read_text())["repos"]
    assert local["repo"] == "local"
    assert [hook["entry"] for hook in local["hooks"]] == [f"make {name}" for name in LINT]
    assert {hook["language"] for hook in local["hooks"]} == {"system"}
    makefile = (repository / "Makefile").read_text()
    assert f"\nlint: {' '.join(LINT)}\n" in makefile
    assert "\nmake lint\n" in (repository / ".ci" / "run").read_text()


@pytest.mark.parametrize("name", ["bug", "data", "feature"])
def test_issue_templates_have_the_keys_that_github_requires(repository: Path, name: str):
    form = yaml.safe_load((repository / ".github" / "ISSUE_TEMPLATE" / f"{name}.yml").read_text())
    assert {"name", "description", "body"} <= set(form)
    fields = [each for each in form["body"] if each["type"] != "markdown"]
    assert len({each["id"] for each in fields}) == len(fields)
    assert all(each["attributes"]["label"] for each in fields)
    assert {each["type"] for each in fields} <= {"input", "textarea", "dropdown", "checkboxes"}


def test_tests_that_contributing_runs_exist(repository: Path):
    text = (repository / "CONTRIBUTING.md").read_text()
    named = re.findall(r"pytest (tests/[\w/.]+)", text)
    assert named
    assert [name for name in named if not (repository / name).is_file()] == []


def test_contributing_names_targets_of_the_makefile(repository: Path):
    rules = set(re.findall(r"^([a-z-]+):", (repository / "Makefile").read_text(), re.MULTILINE))
    text = (repository / "CONTRIBUTING.md").read_text()
    assert set(re.findall(r"\bmake ([a-z-]+)\b", text)) - {"lint-"} <= rules
