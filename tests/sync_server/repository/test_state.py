"""A publish verifies the existing metadata first; writers wait for each other."""

import shutil
import threading

import pytest
from tuf.api.metadata import Metadata, Root

from pocketrec_bundle.errors import InputError
from pocketrec_server.errors import KeysInvalidError, RepositoryInvalidError
from pocketrec_server.repository import state
from pocketrec_server.repository.keys import load_signers, make_keys
from pocketrec_server.repository.publish import found_repository, publish, read_policy, refresh


@pytest.mark.parametrize("name", ["timestamp", "2.snapshot", "1.targets", "1.beta", "1.root"])
def test_a_publish_signs_nothing_on_top_of_what_somebody_put_there(founded, named_releases, name):
    """Who can write to the server but has no key cannot have the publisher vouch for it."""
    repo, signers = founded
    path = repo / "metadata" / f"{name}.json"
    path.write_bytes(path.read_bytes().replace(b'"expires":"2', b'"expires":"3'))
    before = (repo / "metadata" / "timestamp.json").read_bytes()
    with pytest.raises(RepositoryInvalidError, match=rf"{name}.json: damaged"):
        publish(named_releases[1], repo, signers, "stable")
    with pytest.raises(RepositoryInvalidError, match=rf"{name}.json: damaged"):
        refresh(repo, signers, everything=True)
    assert (repo / "metadata" / "timestamp.json").read_bytes() == before


def test_a_policy_that_was_changed_on_the_server_is_not_signed_again(founded, named_releases):
    repo, signers = founded
    (path,) = (repo / "targets" / "channels" / "stable").glob("*.policy.json")
    path.write_bytes(path.read_bytes().replace(b"100.0", b"10.00"))
    with pytest.raises(RepositoryInvalidError, match="Restore the repository"):
        publish(named_releases[1], repo, signers, "stable")


def test_a_repository_of_the_older_layout_is_named_as_such(founded, tmp_path):
    repo, signers = founded
    root = Root(consistent_snapshot=True)
    for role in ("root", "targets", "snapshot", "timestamp"):
        root.add_key(signers["targets"].public_key, role)
    old = Metadata(root)
    old.sign(signers["targets"])
    old.to_file(str(repo / "metadata" / "1.root.json"))
    with pytest.raises(RepositoryInvalidError, match="made by an older pocketrec"):
        read_policy(repo, "stable")


def test_a_repository_is_founded_with_all_keys_or_not_at_all(tmp_path):
    make_keys(tmp_path / "keys")
    for name in ("root-2", "root-3"):
        (tmp_path / "keys" / f"{name}.pem").rename(tmp_path / f"{name}.pem")
    for name in ("targets", "brake"):
        (tmp_path / "keys" / f"{name}.pem").rename(tmp_path / f"{name}.pem")
    wanted = r"no root-2\.pem or root-2\.uri, no targets\.pem .*, no brake\.pem .* have to sign"
    with pytest.raises(KeysInvalidError, match=wanted):
        found_repository(tmp_path / "repo", load_signers(tmp_path / "keys"))
    assert not (tmp_path / "repo").exists()
    for name in ("root-2", "targets", "brake"):
        shutil.move(tmp_path / f"{name}.pem", tmp_path / "keys")
    (tmp_path / "keys" / "canary.pem").unlink()
    channels = found_repository(tmp_path / "repo", load_signers(tmp_path / "keys"))
    assert channels == ["stable", "beta"]
    with pytest.raises(InputError, match="no channel 'canary'; known channels: stable, beta"):
        read_policy(tmp_path / "repo", "canary")


def test_a_second_writer_waits_for_the_first_and_gives_up_after_a_while(founded):
    repo, _ = founded
    order = []

    def second():
        with state.writing(repo):
            order.append("second")

    thread = threading.Thread(target=second)
    with state.writing(repo):
        thread.start()
        with (
            pytest.raises(RepositoryInvalidError, match="another publish is running"),
            state.writing(repo, wait_s=0.2),
        ):
            pass
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


def test_a_file_that_the_server_damaged_is_stored_again_by_the_next_publish(
    founded, named_releases
):
    repo, signers = founded
    path = max((repo / "targets" / "files").iterdir(), key=lambda each: each.stat().st_size)
    whole = path.read_bytes()
    path.write_bytes(bytes(len(whole)))
    report = publish(named_releases[1], repo, signers, "stable")
    assert (report.new_files, report.new_bytes) == (1, len(whole))
    assert path.read_bytes() == whole
