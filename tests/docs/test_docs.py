"""The documentation names what exists, and nothing else."""

import dataclasses
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import pocketrec
from pocketrec import reference

LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
MENTION = re.compile(
    r"`((?:bundle|training|export|edge_runtime|sync_server|experiments|pocketrec|benchmarks|docs|recipes|tests)"
    r"/[\w./-]+\.\w+)`"
)
MODULE = re.compile(r"`(pocketrec(?:_\w+)?(?:\.\w+)+)`")
SHELL = re.compile(r"^\$ (.+)$|^(pocketrec .+)$", re.MULTILINE)


def documents(repository: Path) -> list[Path]:
    found = [*repository.glob("*.md"), *(repository / "docs").rglob("*.md")]
    rooms = {*repository.glob("*/README.md"), *(repository / "benchmarks").glob("*.md")}
    return [*found, *sorted(rooms), repository / "bundle/FORMAT.md"]


def test_links_lead_to_files(repository: Path):
    broken = [
        f"{path.relative_to(repository)}: {target}"
        for path in documents(repository)
        for target in LINK.findall(path.read_text())
        if "://" not in target and not (path.parent / target).exists()
    ]
    assert not broken


def headings(path: Path) -> set[str]:
    """Anchors that GitHub and the site give to the headings of a page."""
    text = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#{1,4} (.+)$", text, re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", title.lower()) for title in titles)
    return {title.strip().replace(" ", "-") for title in plain}


def test_links_lead_to_headings(repository: Path):
    broken = [
        f"{path.relative_to(repository)}: {target}#{anchor}"
        for path in documents(repository)
        for target, anchor in re.findall(r"\]\(([^)#\s:]*)#([^)\s]+)\)", path.read_text())
        if anchor not in headings(path.parent / target if target else path)
    ]
    assert not broken


def test_files_named_in_text_exist(repository: Path):
    missing = [
        f"{path.relative_to(repository)}: {name}"
        for path in documents(repository)
        for name in MENTION.findall(path.read_text())
        if not (repository / name).exists()
    ]
    assert not missing


def test_modules_named_in_text_exist(repository: Path):
    missing = [
        f"{path.relative_to(repository)}: {name}"
        for path in documents(repository)
        for name in MODULE.findall(path.read_text())
        if not any(
            (root / name.replace(".", "/")).with_suffix(".py").is_file()
            or (root / name.replace(".", "/")).is_dir()
            for root in (repository, *repository.iterdir())
        )
    ]
    assert not missing


def test_every_test_named_in_the_threat_model_exists(repository: Path):
    named = set(re.findall(r"`(test_\w+)`", (repository / "docs/server/security.md").read_text()))
    there = {
        name
        for path in (repository / "tests").rglob("test_*.py")
        for name in re.findall(r"^def (test_\w+)\(", path.read_text(), re.MULTILINE)
    }
    assert named - there == set()


def test_every_attack_has_its_line_in_the_threat_model(repository: Path):
    text = (repository / "docs/server/security.md").read_text()
    missing = [
        name
        for path in (repository / "tests" / "attacks").glob("test_*.py")
        for name in re.findall(r"^def (test_\w+)\(", path.read_text(), re.MULTILINE)
        if f"`{name}`" not in text
    ]
    assert not missing


def test_command_reference_is_what_help_says(repository: Path, tmp_path: Path):
    # In a process of its own, as `make docs`: click keeps help options of earlier calls.
    words = [sys.executable, "-m", "pocketrec.reference", str(tmp_path / "page.md")]
    subprocess.run(words, check=True)
    written = (repository / "docs" / "cli-reference.md").read_text()
    assert written == (tmp_path / "page.md").read_text(), "run `make docs`"


def test_every_command_shown_in_the_documentation_exists(repository: Path):
    known = {" ".join(words) for words, _, _ in reference.walk()}
    groups = {words[:-1] for words, _, _ in reference.walk()}
    for path in documents(repository):
        for match in SHELL.finditer(path.read_text()):
            words = (match[1] or match[2]).split()
            if words[0] != "pocketrec" or len(words) < 2 or words[1].startswith("-"):
                continue
            depth = 1
            while tuple(words[1 : depth + 1]) in groups and len(words) > depth + 1:
                depth += 1
            shown = " ".join(words[1 : depth + 1])
            assert shown in known, f"{path.relative_to(repository)}: pocketrec {shown}"


def test_readme_stays_short(repository: Path):
    assert len((repository / "README.md").read_text().splitlines()) < 150


def test_every_make_target_of_the_readme_exists(repository: Path):
    rules = re.findall(r"^([a-z]+):", (repository / "Makefile").read_text(), re.MULTILINE)
    named = re.findall(r"\bmake ([a-z]+)\b", (repository / "README.md").read_text())
    assert set(named) <= set(rules)


def recipe_keys() -> list[str]:
    recipe = pytest.importorskip("pocketrec_training.recipe.schema").Recipe
    keys: list[str] = []
    for section in dataclasses.fields(recipe):
        if dataclasses.is_dataclass(section.type):
            names = [field.name for field in dataclasses.fields(section.type)]
            keys += [f"{section.name}.{name}" for name in names]
            if section.name == "export":
                target = pytest.importorskip("pocketrec_training.recipe.schema").Target
                keys += [f"export.targets.NAME.{f.name}" for f in dataclasses.fields(target)]
        else:
            keys.append(section.name)
    return keys


def test_every_recipe_key_is_explained(repository: Path):
    text = (repository / "docs" / "recipe.md").read_text()
    assert [key for key in recipe_keys() if f"`{key}`" not in text] == []


def test_the_demo_recipe_shows_every_section(repository: Path):
    recipe = tomllib.loads((repository / "recipes" / "ml100k.toml").read_text())
    sections = {key.partition(".")[0] for key in recipe_keys() if "." in key}
    assert sections <= set(recipe)


def test_every_page_is_in_the_navigation_of_the_site(repository: Path):
    index = (repository / "docs" / "index.md").read_text()
    listed = {
        line
        for block in re.findall(r"```{toctree}\n(.*?)```", index, re.DOTALL)
        for line in re.findall(r"[\w./-]+(?=>?$)", block, re.MULTILINE)
    }
    docs = repository / "docs"
    pages = {path.relative_to(docs).with_suffix("").as_posix() for path in docs.rglob("*.md")}
    pages = {page for page in pages if not page.startswith("decisions/0")}
    assert pages - listed == {"index"}


def test_every_term_of_the_glossary_is_explained_and_says_where_it_lives(repository: Path):
    text = (repository / "docs" / "glossary.md").read_text()
    terms = re.findall(r"^### (.+)\n\n(.+)\n\n(Where: .+)$", text, re.MULTILINE)
    assert len(terms) == len(re.findall(r"^### ", text, re.MULTILINE))
    assert all(explained.endswith(".") and len(explained) < 300 for _, explained, _ in terms)


def test_every_public_name_is_on_the_page_of_the_python_api(repository: Path):
    text = (repository / "docs" / "api.md").read_text()
    assert pocketrec.__all__
    assert [name for name in pocketrec.__all__ if f"`{name}`" not in text] == []
