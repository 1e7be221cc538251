"""`own-data` with commands that answer at once: steps, verdicts, figures, and rows of a part."""

import json
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console

from benchmarks.harness import Options, document
from benchmarks.quality import own_data
from benchmarks.support import command_line
from benchmarks.support.own_data import drawn
from benchmarks.support.own_data.sets import SETS, OwnSet
from pocketrec_bundle.errors import InputError


class Commands:
    """Stands in for the command line; the difference of each set is given, None: train fails."""

    def __init__(self, differences: dict[str, float | None], *, final: bool = False) -> None:
        self.differences, self.final = differences, final
        self.calls: list[tuple[str, ...]] = []

    def __call__(self, *words, shows_progress=False):
        words = tuple(map(str, words))
        self.calls.append(words)
        if words[0] == "train":
            run_dir = Path(words[words.index("--out") + 1])
            if self.differences[run_dir.parent.name] is None:
                raise command_line.ChildFailedError("`pocketrec train` ended with exit code 1.")
            if self.final:
                (run_dir / "final").mkdir(parents=True)
        if words[0] == "evaluate":
            out = Path(words[words.index("--out") + 1])
            gain = {"rival": "ease", "setting": "all", "cases": 50, "model_ndcg10": 0.5}
            found = {"baseline_gain": gain, "protocol": {"split_kind": "random"}}
            out.mkdir()
            (out / "evaluation.json").write_text(json.dumps(found))
        if words[0] == "compare":
            away = self.differences[Path(words[1]).parent.name]
            assert away is not None
            found = {"a": 0.5, "b": 0.5 + away, "difference": away, "low": away - 0.01}
            metrics = {"ndcg@10": found | {"high": away + 0.01}}
            return json.dumps({"settings": {"all": {"metrics": metrics}}})
        return ""


@pytest.fixture
def run_sets(tmp_path, monkeypatch):
    """Return a function: run sets with these differences; it gives the result and the calls."""

    def run(differences, **options):
        final = options.pop("final", False)
        commands = Commands(differences, final=final)
        monkeypatch.setattr(command_line, "call", commands)
        sets = {
            name: OwnSet(title=name, real=name != "drawn", files=lambda *_: [Path("log.csv")])
            for name in differences
        }
        given = Options(work=tmp_path / "work", **options)
        return own_data.run(given, sets, Console(quiet=True)), commands.calls

    return run


def test_six_commands_lead_from_the_files_to_a_judged_slate(run_sets):
    result, calls = run_sets({"shop": 0.0})
    user = [words[:2] if words[0] == "device" else words[:1] for words in calls[:-1]]
    names = ["init", "data", "train", "export", "device recommend", "evaluate"]
    assert [" ".join(words) for words in user] == names
    assert calls[-1][0] == "compare"
    assert result.rows[0]["commands"] == result.figures["commands_max"] == 6
    assert document(result)["name"] == "own-data"


def test_a_final_fit_ships_and_the_evaluation_fit_is_judged(run_sets):
    _, calls = run_sets({"shop": 0.0}, final=True)
    shipped, judged = (words for words in calls if words[0] == "export")
    assert "--fit" not in shipped
    assert judged[-2:] == ("--fit", "evaluation")
    (evaluated,) = (words for words in calls if words[0] == "evaluate")
    assert evaluated[-1] == judged[judged.index("--out") + 1]


@pytest.mark.parametrize(
    ("a", "b", "low", "high", "verdict"),
    [
        (0.5, 0.6, 0.01, 0.2, "ahead"),
        (0.5, 0.495, -0.02, 0.01, "level"),
        (0.5, 0.489, -0.03, 0.01, "below"),  # ratio .978
        (0.5, 0.499, -0.002, -0.0001, "below"),  # the whole interval is below 0
        (0.5, 0.49, -0.03, 0.0, "level"),  # both bounds are still allowed
        (0.0, 0.0, 0.0, 0.0, "level"),
    ],
)
def test_a_set_is_below_by_its_ratio_or_its_interval(a, b, low, high, verdict):
    compared = {"a": a, "b": b, "difference": b - a, "low": low, "high": high}
    assert own_data.judged("ease", compared)["verdict"] == verdict


def test_figures_count_sets_and_a_failed_set_is_no_data_set(run_sets):
    result, _ = run_sets({"good": 0.1, "bad": -0.1, "drawn": 0.0, "broken": None})
    wanted = {"datasets": 3, "real_datasets": 2, "below_best_baseline": 1, "failed": 1}
    assert {name: result.figures[name] for name in wanted} == wanted
    assert result.figures["ratio_min"] == pytest.approx(0.8)
    (row,) = (row for row in result.rows if row["set"] == "broken")
    assert row["verdict"] == "failed"
    assert "exit code 1" in row["error"]


def test_a_part_keeps_the_rows_of_the_other_sets(run_sets, tmp_path):
    earlier = tmp_path / "own-data.json"
    earlier.write_text(json.dumps(document(run_sets({"one": -0.1, "two": -0.1})[0])))
    result, calls = run_sets({"one": None, "two": 0.1}, only=("two",), earlier=earlier)
    assert [row["verdict"] for row in result.rows] == ["below", "ahead"]
    assert sum(words[0] == "train" for words in calls) == 1


def test_sets_without_files_are_left_out_and_unknown_names_are_refused(tmp_path):
    options = Options(work=tmp_path, only=("steam", "fashion"))
    assert own_data.run(options, console=Console(quiet=True)).rows == []
    with pytest.raises(InputError, match="unknown stream"):
        own_data.run(Options(work=tmp_path, only=("stream",)), console=Console(quiet=True))
    assert sum(each.real for each in SETS.values()) >= 7
    assert len(SETS) >= 9


@pytest.mark.parametrize("draw", [drawn.sessions, drawn.news])
def test_init_writes_a_whole_recipe_for_the_drawn_sets(draw, tmp_path):
    from pocketrec.cli import main
    from pocketrec_training.recipe.load import load_recipe

    size = {"n": 100} if draw is drawn.sessions else {"n_users": 60, "n_articles": 200}
    files = draw(tmp_path, 7, **size)
    out = tmp_path / "recipe.toml"
    done = CliRunner().invoke(main, ["init", *map(str, files), "--out", str(out)])
    assert done.exit_code == 0, done.output
    recipe = load_recipe(out)
    assert recipe.split.kind == "leave_last"
    assert tomllib.loads(out.read_text())["columns"]["timestamp"] == "timestamp"


def test_part_of_another_benchmark_is_refused(tmp_path):
    from pocketrec.cli import main

    words = ["bench", "demo", "--only", "shop", "--json", str(tmp_path / "demo.json")]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 2
    assert "demo runs as a whole" in done.output
