"""The command line: lazy, one message an error, the documented exit codes."""

import errno
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from pocketrec import cli, reference
from pocketrec_bundle.errors import BundleInvalidError, InputError, PocketRecError


def failing(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """Make `pocketrec data` raise `error`."""

    @click.command()
    def command() -> None:
        raise error

    monkeypatch.setattr(cli.LazyGroup, "get_command", lambda *_: command)


class GateRefusedError(PocketRecError):
    exit_code = 3


@pytest.mark.parametrize(
    ("error", "exit_code", "said"),
    [
        (InputError("interactions.csv: no column 'user'"), 2, "no column 'user'"),
        (BundleInvalidError("files/ab: hash differs"), 1, "hash differs"),
        (GateRefusedError("int8 lost 2% of NDCG@10"), 3, "int8 lost"),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "run/x"), 1, "no space left"),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), 1, "no space left"),
        (PermissionError(errno.EACCES, "Permission denied", "keys/root.pem"), 1, "keys/root.pem"),
        (ModuleNotFoundError("x", name="flask.app"), 1, "pip install 'pocketrec[server]'"),
        (ModuleNotFoundError("x", name="tensorflow"), 1, "pip install 'pocketrec[train]'"),
        (ModuleNotFoundError("x", name="ai_edge_litert"), 1, "pip install 'pocketrec[edge]'"),
        (ModuleNotFoundError("x", name="pyarrow"), 1, "pip install 'pocketrec[events]'"),
    ],
)
def test_expected_error_is_one_message_and_its_exit_code(
    runner: CliRunner, monkeypatch, error: Exception, exit_code: int, said: str
):
    failing(monkeypatch, error)
    done = runner.invoke(cli.main, ["data"])
    assert done.exit_code == exit_code
    assert done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 1
    assert said in done.stderr


@pytest.mark.parametrize(
    "error", [RuntimeError("ours"), ModuleNotFoundError("x", name="bundle.nothing")]
)
def test_our_own_bug_keeps_its_traceback(runner: CliRunner, monkeypatch, error: Exception):
    failing(monkeypatch, error)
    assert runner.invoke(cli.main, ["data"]).exception is error


def test_unknown_command_is_wrong_usage(runner: CliRunner):
    done = runner.invoke(cli.main, ["dat"])
    assert done.exit_code == 2
    assert "dat" in done.stderr


def test_module_and_script_are_the_same_command(repository: Path):
    command = [sys.executable, "-m", "pocketrec", "--version"]
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=True)
    assert re.fullmatch(r"pocketrec, version \d+\.\d+\.\d+\n", done.stdout)


def test_every_help_ends_with_an_example_that_parses(runner: CliRunner):
    for words, _, _ in reference.walk():
        check_example(runner, words)


def check_example(runner: CliRunner, words: tuple[str, ...]) -> None:
    done = runner.invoke(cli.main, [*words, "--help"])
    assert done.exit_code == 0
    _, found, example = done.stdout.rpartition("Example:")
    assert found, f"pocketrec {' '.join(words)} --help shows no example"
    argv = shlex.split(example.replace("\\", " "))
    assert argv[0] == "pocketrec"
    parse(argv[1:])


def parse(argv: list[str]) -> None:
    """Parse an example down to its command; missing files are fine, wrong options are not."""
    command: click.Command = cli.main
    context = click.Context(command, info_name="pocketrec")
    while isinstance(command, click.Group):
        name, *argv = argv
        child = command.get_command(context, name)
        assert child is not None, f"the example names no command {name}"
        command, context = child, click.Context(child, parent=context, info_name=name)
    context.resilient_parsing = True  # no check that paths exist
    command.make_parser(context).parse_args(list(argv))


def test_inspect_says_what_ended_the_training(runner, repository, tmp_path):
    bundle = Path(shutil.copytree(repository / "tests/bundle/data/v1", tmp_path / "v1"))
    manifest = json.loads((bundle / "manifest.json").read_bytes())
    one, two = manifest["files"][:2]
    one["meta"] |= {"stopped_by": "minutes", "reproducible": 0}
    two["meta"] |= {"stopped_by": "epochs", "reproducible": 1}
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    done = runner.invoke(cli.main, ["inspect", str(bundle)])
    assert done.exit_code == 0, done.exception
    lines = {line.partition(" ")[0]: line for line in done.stdout.splitlines()}
    assert lines[one["name"]].endswith("training stopped by minutes, not reproducible")
    assert lines[two["name"]].endswith("training stopped by epochs")


def test_inspect_and_verify_list_the_model_sets(runner, two_rankers):
    done = runner.invoke(cli.main, ["inspect", str(two_rankers)])
    assert done.exit_code == 0, done.exception
    assert "model_sets      ['against']" in done.stdout
    (line,) = [one for one in done.stdout.splitlines() if one.startswith("models/against/ranker")]
    assert line.endswith("model set against, default")
    done = runner.invoke(cli.main, ["verify", str(two_rankers)])
    assert done.exit_code == 0, done.output
    rankers = [one for one in done.stdout.splitlines() if one.startswith("ranker")]
    assert [one.endswith("ok, default, set against") for one in rankers] == [False, True]
    assert re.search(r"^  set against .*passed$", done.stdout, re.MULTILINE)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--ranker", "wide"), "expected NAME=RUN"),
        (("--ranker", "=run"), "expected NAME=RUN"),
        (("--ranker", "a=one", "--ranker", "a=two"), "a is given twice"),
        (("--ranker", "a=one", "--kit", "web"), "--ranker is of a bundle of RUN"),
    ],
)
def test_export_refuses_rankers_without_a_name_of_their_own(runner, tmp_path, words, told):
    done = runner.invoke(cli.main, ["export", "run", "--out", str(tmp_path / "out"), *words])
    assert done.exit_code == 2 and told in done.stderr


def test_inspect_shows_facts_of_files_that_only_claim_to_be_models(runner, repository, tmp_path):
    bundle = Path(shutil.copytree(repository / "tests/bundle/data/v1", tmp_path / "v1"))
    manifest = json.loads((bundle / "manifest.json").read_bytes())
    manifest["files"][0]["meta"] = {"bytes": "many", "name": "x", "max_abs_error": 0.5}
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    done = runner.invoke(cli.main, ["inspect", str(bundle)])
    assert done.exit_code == 0, done.exception
    line = next(line for line in done.stdout.splitlines() if "error 5.0e-01" in line)
    assert line.startswith(manifest["files"][0]["name"])
    assert f"{manifest['files'][0]['bytes']:,}" in line


def test_no_range_of_an_option_lets_nan_or_an_infinity_pass():
    ranges = [
        (words, parameter)
        for words, command, _ in reference.walk()
        for parameter in command.params
        if isinstance(parameter.type, click.FloatRange)
    ]
    assert len(ranges) > 8
    for words, parameter in ranges:
        for text in ("nan", "inf", "-inf"):
            with pytest.raises(click.BadParameter):
                parameter.type.convert(text, parameter, click.Context(click.Command("x")))
        assert words
