"""A release that older apps do not read is published only with the first version that does."""

import pytest

from pocketrec.cli import main
from pocketrec_bundle.errors import InputError
from pocketrec_bundle.manifest import FIRST_CLIENTS, FORMAT_VERSION
from pocketrec_export.conformance.tiny_bundle import write_tiny_bundle
from pocketrec_server.repository.publish import change_policy, publish, read_policy
from pocketrec_server.repository.rollout import changed, find


def written(folder, name, version=3):
    write_tiny_bundle(folder / name, version, answers=True, name=name)
    return folder / name


def apps(repo):
    return {stage.name: stage.app.least for stage in read_policy(repo, "stable").releases}


def test_every_version_names_its_first_client():
    assert [*FIRST_CLIENTS] == [*range(1, FORMAT_VERSION + 1)]


def test_format_3_without_a_minimum_app_is_refused_with_what_to_do(founded, tmp_path):
    repo, signers = founded
    before = (repo / "metadata" / "timestamp.json").read_bytes()
    with pytest.raises(InputError) as refused:
        publish(written(tmp_path, "typed"), repo, signers, "stable")
    said = str(refused.value)
    assert "bundle format 3" in said and "--app-least VERSION" in said
    assert f"PocketRec client of version {FIRST_CLIENTS[3]} or later" in said
    assert (repo / "metadata" / "timestamp.json").read_bytes() == before


def test_releases_after_it_have_the_same_minimum_app_unless_another_is_named(founded, tmp_path):
    repo, signers = founded
    publish(written(tmp_path, "plain", 2), repo, signers, "stable")
    publish(written(tmp_path, "one"), repo, signers, "stable", app_least="2.10")
    publish(written(tmp_path, "two"), repo, signers, "stable")
    publish(written(tmp_path, "three"), repo, signers, "stable", app_least="3")
    publish(written(tmp_path, "older", 2), repo, signers, "stable")
    expected = {"older": None, "three": "3", "two": "2.10", "one": "2.10"}
    assert {name: apps(repo)[name] for name in expected} == expected
    again = publish(tmp_path / "three", repo, signers, "stable")
    assert again.changed and apps(repo)["three"] == "3"


def test_a_minimum_app_that_was_set_by_hand_stays(founded, tmp_path):
    repo, signers = founded
    publish(written(tmp_path, "one"), repo, signers, "stable", app_least="2")

    def raised(policy):
        stage = find(policy, "one")
        return changed(policy, stage, app=type(stage.app)(least="4", below="9"))

    change_policy(repo, signers, "stable", raised)
    publish(tmp_path / "one", repo, signers, "stable", percent=50)
    (stage,) = (s for s in read_policy(repo, "stable").releases if s.name == "one")
    assert (stage.app.least, stage.app.below) == ("4", "9")


def test_a_minimum_app_cannot_be_taken_from_a_release_that_needs_it(founded, tmp_path):
    repo, signers = founded
    publish(written(tmp_path, "one"), repo, signers, "stable", app_least="2")

    def removed(policy):
        stage = find(policy, "one")
        return changed(policy, stage, app=type(stage.app)())

    with pytest.raises(InputError, match=r"bundle format 3.*--app-least VERSION"):
        change_policy(repo, signers, "stable", removed)
    assert apps(repo)["one"] == "2"


@pytest.mark.parametrize("version", ["", "two", "1.2.3.4.5", "1.x"])
def test_a_minimum_app_that_is_no_version_is_refused(founded, tmp_path, version):
    repo, signers = founded
    with pytest.raises(InputError, match="--app-least"):
        publish(written(tmp_path, "plain", 2), repo, signers, "stable", app_least=version)


def test_the_command_says_what_to_do(founded, tmp_path, runner):
    repo, _ = founded
    assert (repo.parent / "keys").is_dir()
    words = ["publish", str(written(tmp_path, "typed")), "--repo", str(repo)]
    words += ["--keys", str(repo.parent / "keys"), "--no-self-test"]
    refused = runner.invoke(main, words)
    assert refused.exit_code == 2 and "--app-least VERSION" in refused.output
    done = runner.invoke(main, [*words, "--app-least", "5.1"])
    assert done.exit_code == 0, done.output
    assert apps(repo)["typed"] == "5.1"
