"""`pocketrec device` as a stranger types it: mistyped homes, names and numbers."""

import re
from dataclasses import replace
from pathlib import Path

import click
import pytest
from rich.console import Console

from pocketrec import cli, facts, reference
from pocketrec.browse.session import Session
from pocketrec.browse.view import screen
from pocketrec.cli import main
from pocketrec_edge.device import Device

NOW = 1_700_000_000


@pytest.fixture
def home(tiny_release, tmp_path) -> Path:
    phone = Device(tmp_path / "phone", engine="onnx", clock=lambda: NOW)
    phone.install(tiny_release)
    phone.close()
    return tmp_path / "phone"


READERS = (
    ("recommend",),
    ("recommend", "--json"),
    ("explain",),
    ("browse",),
    ("browse", "--server", "http://127.0.0.1:1"),
    ("status",),
    ("feedback", "x"),
    ("arm", "test", "b"),
    ("interests",),
    ("interests", "--clear"),
    ("consent",),
    ("consent", "--withdraw"),
    ("export-data", "--out", "copy.jsonl"),
    ("erase", "--yes"),
    ("sync", "--server", "http://127.0.0.1:1"),
    ("watch", "--server", "http://127.0.0.1:1", "--updates", "1"),
)


@pytest.mark.parametrize("words", READERS, ids=" ".join)
@pytest.mark.parametrize("there", [False, True], ids=["missing", "empty"])
def test_a_mistyped_home_is_refused_and_founds_no_phone(runner, tmp_path, words, there):
    home = tmp_path / "typo"
    if there:
        home.mkdir()
    done = runner.invoke(main, ["device", words[0], "--home", str(home), *words[1:]], input="q\n")
    assert done.exit_code == 2, done.output
    assert done.stdout == ""
    assert "no phone is there" in done.stderr and "pocketrec device install" in done.stderr
    assert home.exists() == there and not (there and list(home.iterdir()))


def test_every_device_command_that_takes_a_home_is_tried(runner):
    with_home = {
        words[1]
        for words, command, _ in reference.walk()
        if words[:1] == ("device",) and any(p.name == "home" for p in command.params)
    }
    assert with_home == {words[0] for words in READERS} | {"install"}


@pytest.mark.parametrize("words", [("install", "{}"), ("recommend", "--bundle", "{}")])
def test_a_mistyped_bundle_founds_no_phone(runner, tmp_path, words):
    home = tmp_path / "new"
    given = [word.format(tmp_path / "typo") for word in words]
    done = runner.invoke(main, ["device", *given, "--home", str(home)])
    assert done.exit_code == 1 and "not a bundle" in done.stderr
    assert not home.exists()


def test_the_ids_of_a_slate_are_what_feedback_and_explain_take(runner, home):
    phone = Device(home, engine="onnx", clock=lambda: NOW)
    items = phone.recommend(log_impressions=False).items
    phone.close()
    at = ["--home", str(home)]
    shown = runner.invoke(main, ["device", "recommend", *at, "--engine", "onnx"])
    for line in shown.stdout.splitlines():
        assert re.match(r" +\d  \d\.\d{3}  (item \d+|é-\d+) +Title \d+  [(\[]", line), line
    assert len(shown.stdout.splitlines()) == len(items)
    item_id = items[0].item_id
    for words in (["feedback", *at, item_id], ["explain", *at, "--engine", "onnx", item_id]):
        assert runner.invoke(main, ["device", *words]).exit_code == 0


def drawn(session: Session, width: int = 100) -> str:
    console = Console(width=width)
    with console.capture() as found:
        console.print(screen(session), highlight=False)
    return found.get()


def test_browse_shows_whole_ids_and_no_time_wraps(home):
    session = Session(lambda: Device(home, engine="onnx", clock=lambda: NOW), None)
    for item in session.items:
        assert f" {item.item_id} " in drawn(session)
    long = "an-item-of-" + "x" * 40
    session.items = (replace(session.items[0], item_id=long), *session.items[1:])
    session.answer = replace(session.answer, stage_ms={"tower": 99_999.99, "total": 123_456.78})
    text = drawn(session)
    assert long in re.sub(r"\s+\S*\s*$", "", "".join(column_of(text, "id")))
    assert re.search(r"^total +123456\.78 ms +\d+ MiB resident *$", text, re.MULTILINE)
    assert re.search(r"^tower +99999\.99 ms", text, re.MULTILINE)
    session.close()


def column_of(text: str, name: str) -> list[str]:
    """The cells below a heading, line by line."""
    lines = text.splitlines()
    top = next(at for at, line in enumerate(lines) if f" {name} " in line)
    start = lines[top].index(f" {name} ") + 1
    end = lines[top].index("title")
    return [line[start:end].strip() for line in lines[top + 1 : top + 4]]


def test_the_status_of_a_new_phone_never_says_none_as_python_does(runner, tmp_path, home):
    Device(tmp_path / "new").close()
    for each in (tmp_path / "new", home):
        told = runner.invoke(main, ["device", "status", "--home", str(each)])
        assert told.exit_code == 0
        assert "None" not in told.stdout and "{" not in told.stdout and "[" not in told.stdout
        assert "consent       state unknown\n" in told.stdout


def test_values_of_every_kind_are_text():
    answer = {"a": None, "b": {}, "c": {"x": None, "y": 2}, "d": [], "e": ["p", "q"], "f": 0}
    assert list(facts.lines(answer | {"faults": ["x"]})) == [
        f"{'a':<14}none",
        f"{'b':<14}none",
        f"{'c':<14}y 2",
        f"{'d':<14}none",
        f"{'e':<14}p, q",
        f"{'f':<14}0",
    ]


def test_the_server_has_one_name_in_every_command_and_url_is_still_accepted(runner, tmp_path):
    found = set()
    for words, command, context in reference.walk():
        options = {name: param for param in command.params for name in param.opts}
        if words[:1] != ("device",) or not {"--server", "--url"} & options.keys():
            continue
        found.add(words[1])
        assert options["--server"] is options["--url"], words
        shown = command.get_help(context)
        assert "--server TEXT" in shown and "--url" not in shown
        parsed = command.make_parser(click.Context(command)).parse_args(["--url", "http://x"])[0]
        assert parsed["server"] == "http://x"
    assert found == {"sync", "watch", "browse", "simulate", "erase"}
    missing = runner.invoke(main, ["device", "sync", "--home", str(tmp_path)])
    assert "Missing option '--server'." in missing.stderr


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (["devise"], "'device'"),
        (["publsh"], "'publish'"),
        (["device", "recomend"], "'recommend'"),
        (["keys", "statsu"], "'status'"),
        (["rollout", "shwo"], "'show'"),
        (["rollout", "--hlep"], "'--help'"),
        (["--vesion"], "'--version'"),
        (["device", "status", "--hom", "x"], "'--home'"),
        (["device", "sync", "--sevrer", "http://x"], "'--server'"),
    ],
)
def test_what_is_mistyped_gets_a_suggestion(runner, typed, meant):
    done = runner.invoke(main, typed)
    assert done.exit_code == 2
    assert "id you mean" in done.stderr and meant in done.stderr


def test_every_group_suggests_for_each_of_its_commands(runner):
    groups = [(words, c) for words, c, _ in reference.walk() if isinstance(c, click.Group)]
    assert {words for words, _ in groups} >= {(), ("device",), ("keys",), ("rollout",)}
    for words, group in groups:
        names = cli.COMMANDS if not words else group.commands
        for name in names:
            done = runner.invoke(main, [*words, f"{name}x"])
            assert done.exit_code == 2 and repr(name) in done.stderr, (words, name)


def test_nothing_is_suggested_for_what_is_like_nothing(runner):
    done = runner.invoke(main, ["xyzzy"])
    assert done.exit_code == 2 and "mean" not in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("simulate", "--minutes", "nan"),
        ("simulate", "--minutes", "inf"),
        ("simulate", "--sync-every", "nan"),
        ("simulate", "--devices", "0"),
        ("simulate", "-k", "0"),
        ("sync", "--now", "99999999999999999999"),
        ("sync", "--max-rate", "0"),
        ("watch", "--updates", "0"),
        ("recommend", "-k", "0"),
        ("recommend", "-k", "-5"),
        ("recommend", "--page", "0"),
        ("recommend", "--session", "x"),
        ("recommend", "--deadline-ms", "nan"),
        ("recommend", "--deadline-ms", "-1"),
        ("recommend", "--price-min", "nan"),
        ("recommend", "--price-max", "nan"),
        ("recommend", "--range", "price", "5", "1"),
        ("recommend", "--range", "price", "nan", "nan"),
        ("recommend", "--max-age-rating", "-1"),
        ("recommend", "--max-age-rating", "99999999999999999999"),
        ("recommend", "--threads", "0"),
        ("recommend", "--scene", "cellar"),
        ("explain", "-k", "0"),
        ("feedback", "x", "--value", "nan"),
        ("feedback", "x", "--event", "cough"),
        ("feedback", ""),
    ],
    ids=" ".join,
)
def test_numbers_and_names_that_cannot_be_are_wrong_usage(runner, home, tiny_release, words):
    where = {
        "simulate": ["--bundle", str(tiny_release), "--only", "entry", "--devices", "1"],
        "sync": ["--home", str(home), "--server", "http://127.0.0.1:1"],
        "watch": ["--home", str(home), "--server", "http://127.0.0.1:1"],
    }.get(words[0], ["--home", str(home)])
    done = runner.invoke(main, ["device", words[0], *where, *words[1:]])
    assert done.exit_code == 2, done.output
    assert "Error: " in done.stderr and done.stdout == ""
    phone = Device(home)
    assert phone.status().plain()["events"] == 0
    phone.close()


def test_a_negative_seed_is_a_seed(runner, tiny_release):
    words = ["--bundle", str(tiny_release), "--only", "entry", "--devices", "1", "--minutes", "1"]
    done = runner.invoke(main, ["device", "simulate", *words, "--seed", "-1", "--engine", "onnx"])
    assert done.exit_code == 0, done.output
