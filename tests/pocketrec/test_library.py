"""The library: names at the top, loaded when used, typed, each with an example that runs."""

import doctest
import inspect
import os
import pkgutil
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pocketrec

RECIPE = """
name = "shop"
seed = 3
[data]
interactions = "i.csv"
items = "p.csv"
[columns]
user = "user"
item = "item"
timestamp = "time"
timestamp_unit = "s"
value = "stars"
item_id = "item"
title = "title"
categories = "genre"
[events]
like_value = 4.0
[retrieval]
quantize_from = 1.0
dim = 16
blocks = 1
max_history = 10
epochs = 2
patience = 2
batch = 16
[ranker]
candidates = 15
epochs = 1
deep = [8]
cross_layers = 1
[index]
cells = 4
[rerank]
slate = 5
[export]
golden_cases = 4
variants = ["fp32"]
require_gain = "off"
"""
ENTRY_POINTS = {
    "Device",
    "open_bundle",
    "train",
    "evaluate",
    "export_bundle",
    "publish",
    "create_app",
}
"""Public names that 0.1.0 had elsewhere; the others are types of their arguments and answers."""
ON_THE_PHONE = (
    "Answer",
    "Device",
    "Explanation",
    "Fault",
    "FaultCode",
    "Filters",
    "PocketRecError",
    "Status",
    "open_bundle",
)


def process(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh process that has this checkout's packages."""
    places = [str(Path(place).resolve()) for place in sys.path if place]
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(places)},
        capture_output=True,
        text=True,
    )


def test_importing_the_library_loads_no_room(tmp_path):
    code = "import sys, pocketrec; print(*sorted({n.partition('.')[0] for n in sys.modules}))"
    done = process(code, tmp_path)
    assert done.returncode == 0, done.stderr
    names = set(done.stdout.split())
    assert "pocketrec" in names
    assert not {name for name in names if name.startswith("pocketrec_")}
    assert not names & {"numpy", "click", "flask", "tensorflow", "tuf"}


@pytest.mark.parametrize(
    ("name", "missing", "extra"),
    [
        ("train", "keras", "train"),
        ("load_recipe", "pydantic", "train"),
        ("build_tables", "ibis", "train"),
        ("create_app", "flask", "server"),
        ("publish", "tuf", "server"),
        ("make_keys", "cryptography", "server"),
        ("found_repository", "tuf", "server"),
    ],
)
def test_a_name_whose_extra_is_not_installed_names_the_extra(tmp_path, name, missing, extra):
    code = f"import sys; sys.modules[{missing!r}] = None; from pocketrec import {name}"
    done = process(code, tmp_path)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"ModuleNotFoundError: pocketrec.{name} needs {missing}")
    assert f"pip install 'pocketrec[{extra}]'" in last


def test_each_new_import_name_of_the_changelog_is_there(repository):
    text = (repository / "CHANGELOG.md").read_text()
    table = text.partition("#### Import names")[2].partition("\n#")[0]
    rows = [row.split("|")[2] for row in table.splitlines() if row.startswith("| `")]
    modules = re.findall(r"`(pocketrec_[\w.]+)`", "".join(rows))
    names = re.findall(r"\w+", " ".join(re.findall("`from pocketrec import (.+?)`", "".join(rows))))
    assert len(modules) > 10
    for name in modules:
        pkgutil.resolve_name(name)
    assert set(names) == ENTRY_POINTS


def test_names_of_the_phone_load_neither_training_nor_server(tmp_path):
    code = f"import sys\nfrom pocketrec import {', '.join(ON_THE_PHONE)}\nprint(*sys.modules)"
    done = process(code, tmp_path)
    assert done.returncode == 0, done.stderr
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert not loaded & {"tensorflow", "keras", "flask", "sqlalchemy", "tuf", "click", "pandas"}
    assert not loaded & {"pocketrec_training", "pocketrec_export", "pocketrec_server"}


def test_every_public_name_is_there_and_an_unknown_one_is_an_attribute_error():
    for name in ON_THE_PHONE:
        assert getattr(pocketrec, name).__name__ == name
    assert {*pocketrec.__all__} <= {*dir(pocketrec)}
    assert sorted(pocketrec._PLACES) == sorted(pocketrec.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Phone'"):
        _ = pocketrec.Phone


def test_type_checkers_see_the_same_places_as_the_interpreter():
    text = Path(str(inspect.getsourcefile(pocketrec))).read_text()
    typed = {
        name: place
        for place, names in re.findall(r"^    from (\S+) import (.+)$", text, re.MULTILINE)
        for name in names.split(", ")
        if name != "import_module"
    }
    assert typed == pocketrec._PLACES


@pytest.fixture
def shop(tiny_release, tmp_path, monkeypatch):
    """The working folder: a bundle, and the recipe and tables of a shop."""
    shutil.copytree(tiny_release, tmp_path / "bundle")
    (tmp_path / "shop.toml").write_text(RECIPE)
    (tmp_path / "tables").mkdir()
    rng = np.random.default_rng(0)
    lines = ["user,item,time,stars"]
    for user in range(40):
        start = int(rng.integers(0, 30))
        lines += [f"u{user},i{(start + n) % 30},{user * 1000 + n},{n % 6}" for n in range(12)]
    (tmp_path / "tables" / "i.csv").write_text("\n".join(lines))
    items = ["item,title,genre", *(f"i{n},Film {n},g{n % 3}" for n in range(30))]
    (tmp_path / "tables" / "p.csv").write_text("\n".join(items))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run_example(value: Any) -> None:
    """Run the doctest of a public name; there must be one."""
    module = sys.modules[value.__module__]
    names = {**vars(module), "Path": Path}
    examples = [
        test
        for test in doctest.DocTestFinder(recurse=False).find(value, value.__name__, globs=names)
        if test.examples
    ]
    assert examples, f"{value.__name__} has no example"
    for test in examples:
        told: list[str] = []
        result = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test, out=told.append)
        assert result.failed == 0, "".join(told)


@pytest.mark.parametrize("name", sorted({*ON_THE_PHONE} - {"PocketRecError"}))
def test_the_example_of_a_name_of_the_phone_runs(shop, name):
    run_example(getattr(pocketrec, name))


def test_the_examples_of_the_server_run(shop):
    pytest.importorskip("flask", reason="needs the server extra")
    run_example(pocketrec.make_keys)
    run_example(pocketrec.load_signers)
    run_example(pocketrec.found_repository)
    run_example(pocketrec.publish)
    run_example(pocketrec.create_app)
    run_example(pocketrec.PublishReport)
    run_example(pocketrec.Settings)


@pytest.mark.parametrize("name", ["train", "evaluate", "export_bundle", "publish"])
def test_every_argument_of_a_step_is_a_keyword(name):
    if name == "publish":
        pytest.importorskip("tuf", reason="needs the server extra")
    else:
        pytest.importorskip("tensorflow", reason="needs the train extra")
    arguments = inspect.signature(getattr(pocketrec, name)).parameters.values()
    assert {argument.kind for argument in arguments} == {inspect.Parameter.KEYWORD_ONLY}
    named = {argument.name for argument in arguments if argument.default is argument.empty}
    needed = {
        "train": {"recipe", "data", "out"},
        "evaluate": {"run", "data", "out"},
        "export_bundle": {"run", "out"},
        "publish": {"bundle", "repo", "signers"},
    }
    assert named == needed[name]


def test_the_examples_from_tables_to_a_release_run_one_after_the_other(shop, uncompiled):
    pytest.importorskip("tensorflow", reason="needs the train extra")
    run_example(pocketrec.load_recipe)
    run_example(pocketrec.build_tables)
    with uncompiled():
        run_example(pocketrec.train)
        run_example(pocketrec.evaluate)
        run_example(pocketrec.export_bundle)
        run_example(pocketrec.TrainReport)
    run_example(pocketrec.Evaluation)
    run_example(pocketrec.ExportReport)
    with pocketrec.Device(shop / "phone", bundle=shop / "release") as device:
        answer = device.recommend(5)
    assert (answer.release, answer.source, len(answer.items)) == ("shop-1", "model", 5)


SNIPPET = """
from pathlib import Path
from typing import Any
import pocketrec
from pocketrec import Device
device = Device(Path("phone"))
reveal_type(device.recommend(10))
reveal_type(device.recommend(10).items[0].score)
reveal_type(device.recommend(10).faults[0].code)
reveal_type(device.status())
reveal_type(device.explain())
reveal_type(device.sync("http://127.0.0.1:1"))
reveal_type(pocketrec.open_bundle(Path("bundle")).item_count)
report = pocketrec.evaluate(run=Path("run"), data=Path("data"), out=Path("report"))
reveal_type(report)
reveal_type(report.gain.low)
reveal_type(report.of("two_stage").metrics["ndcg@10"].high)
"""


def test_a_user_of_mypy_sees_dataclasses(tmp_path, repository):
    pytest.importorskip("mypy", reason="needs the dev extra")
    (tmp_path / "app.py").write_text(SNIPPET)
    rooms = ("", "bundle", "edge_runtime", "training")
    places = [repository / room for room in rooms]
    # Without site-packages NumPy is Any, and a check takes seconds instead of minutes.
    words = ["--no-site-packages", "--follow-imports=silent", "--cache-dir", "cache", "app.py"]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *words],
        cwd=tmp_path,
        env={**os.environ, "MYPYPATH": os.pathsep.join(map(str, places))},
        capture_output=True,
        text=True,
    )
    assert re.findall(r'Revealed type is "([\w.]+)"', done.stdout) == [
        "pocketrec_edge.answers.Answer",
        "float",
        "pocketrec_edge.faults.FaultCode",
        "pocketrec_edge.device_status.Status",
        "pocketrec_edge.recommend.explain.Explanation",
        "pocketrec_edge.sync.client.SyncReport",
        "int",
        "pocketrec_training.evaluation.result.Evaluation",
        "float",
        "float",
    ], done.stdout + done.stderr


def test_every_package_says_that_it_is_typed(repository):
    packages = [path.parent for path in repository.glob("*/pocketrec_*/__init__.py")]
    assert len(packages) == 6
    for package in (*packages, repository / "pocketrec"):
        assert (package / "py.typed").is_file(), package
