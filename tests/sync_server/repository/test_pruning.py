"""Pruning removes unneeded files and keeps all that a device can request, in any history."""

import json
import os

import pytest

from pocketrec.cli import main
from pocketrec_bundle.manifest import parse_manifest
from pocketrec_bundle.writer import BundleWriter
from pocketrec_server.errors import RepositoryInvalidError
from pocketrec_server.repository import state
from pocketrec_server.repository.pruning import PruneReport, prune
from pocketrec_server.repository.publish import change_policy, publish, read_policy
from pocketrec_server.repository.rotation import rotate

DAY = 86_400


@pytest.fixture
def grown(founded, named_releases, tmp_path):
    """(repository, signers, releases): six releases of one file each that no other has."""
    repo, signers = founded
    made = []
    for n in range(6):
        with BundleWriter(tmp_path / str(n)) as writer:
            manifest = parse_manifest((named_releases[0] / "manifest.json").read_bytes())
            for entry in manifest.files:
                data = (named_releases[0] / "files" / entry.sha256).read_bytes()
                writer.add(entry.name, data, entry.kind, **entry.meta)
            writer.add("zz/own", json.dumps({"n": n}).encode(), "json")
            writer.finish(name=f"release {n}", recipe_name="t", created_utc=1_700_000_000)
        made.append(tmp_path / str(n))
    for folder in made:
        publish(folder, repo, signers, "stable")
    return repo, signers, made


def own(repo):
    """Numbers of the releases whose own file is on the disk."""
    paths = (repo / "targets" / "files").iterdir()
    found = [json.loads(path.read_bytes()) for path in paths if path.stat().st_size < 12]
    return sorted(each["n"] for each in found)


def age(repo, days):
    """Make all that is there older."""
    for path in repo.rglob("*"):
        if path.is_file():
            at = path.stat().st_mtime - days * DAY
            os.utime(path, (at, at))


def test_what_was_current_lately_stays_and_the_rest_goes(grown, tmp_path):
    repo, signers, made = grown
    assert prune(repo) == PruneReport(files=0, bytes=0)
    assert own(repo) == [0, 1, 2, 3, 4, 5]
    age(repo, 8)
    kept = [stage.name for stage in read_policy(repo, "stable").releases]
    assert kept == ["release 5", "release 4", "release 3", "release 2"]
    publish(made[0], repo, signers, "stable")  # 5, 4, 3 and 2 were current until now
    counted = prune(repo, dry_run=True)
    assert own(repo) == [0, 1, 2, 3, 4, 5]
    assert prune(repo) == counted
    assert own(repo) == [0, 2, 3, 4, 5]
    age(repo, 8)
    prune(repo)
    assert own(repo) == [0, 3, 4, 5]
    change_policy(repo, signers, "stable", lambda policy: policy)
    assert state.load(repo).versions["stable"] == 9
    assert prune(repo, days=0).files == 0


def test_all_roots_and_other_channels_stay(grown):
    repo, signers, made = grown
    publish(made[1], repo, signers, "beta")
    for _ in range(2):
        rotate(repo, signers, ["timestamp"])
    age(repo, 100)
    before = sorted(path.name for path in (repo / "metadata").glob("*.root.json"))
    assert prune(repo).files > 0
    assert sorted(path.name for path in (repo / "metadata").glob("*.root.json")) == before
    assert len(before) == 3
    assert own(repo) == [1, 2, 3, 4, 5]
    found = state.load(repo)  # proved as a whole
    names = {path.name for path in (repo / "metadata").iterdir()} - set(before)
    assert names == {"timestamp.json"} | {
        f"{version}.{role}.json"
        for role, version in found.versions.items()
        if role not in ("root", "timestamp")
    }


def test_what_a_killed_publish_left_goes_in_time(grown):
    repo, _, _ = grown
    left = repo / "targets" / "files" / ".x.partial"
    left.write_bytes(b"x")
    prune(repo)
    assert left.exists()
    age(repo, 8)
    prune(repo)
    assert not left.exists()


def test_a_damaged_repository_is_not_touched(grown):
    repo, _, _ = grown
    age(repo, 100)
    (repo / "metadata" / "8.stable.json").write_text("{}")
    before = sorted(repo.rglob("*"))
    with pytest.raises(RepositoryInvalidError):
        prune(repo)
    assert sorted(repo.rglob("*")) == before


def test_by_the_command(grown, runner):
    age(grown[0], 100)
    words = ["prune", "--repo", str(grown[0])]
    would = runner.invoke(main, [*words, "--dry-run"])
    done = json.loads(runner.invoke(main, [*words, "--json"]).stdout)
    assert would.stdout == f"would remove {done['files']} files, {done['bytes']:,} bytes\n"
    assert done["files"] > 0
