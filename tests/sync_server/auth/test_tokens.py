"""Tokens of people: found while good, kept as hashes, revoked; guessing is slowed down."""

import json
import sqlite3

import pytest

from pocketrec import cli
from pocketrec_bundle.errors import InputError
from pocketrec_server.admin import statistics
from pocketrec_server.auth import audit, tokens
from pocketrec_server.auth.failures import MOST, WITHIN_S, Failures
from pocketrec_server.delivery.traffic import Traffic
from pocketrec_server.errors import RepositoryInvalidError
from pocketrec_server.storage.database import connect, default_url, open_database, upgrade

DAY = 86_400


@pytest.fixture
def engine(tmp_path):
    return open_database(default_url(tmp_path))


def test_a_token_is_good_until_its_end_or_its_revocation(engine):
    text, made = tokens.make(engine, "alice", "read", 2, 1000)
    assert tokens.find(engine, text, 1000) == made
    assert tokens.by_id(engine, made.id, 1000) == made
    assert tokens.find(engine, text, 1000 + 2 * DAY - 1) == made
    assert tokens.find(engine, text, 1000 + 2 * DAY) is None
    assert tokens.find(engine, text[:-1], 1000) is None
    assert tokens.find(engine, text + "x" * 5000, 1000) is None
    assert tokens.find(engine, "\udc80", 1000) is None
    tokens.revoke(engine, made.id, 1500)
    assert tokens.find(engine, text, 1501) is None
    assert tokens.by_id(engine, made.id, 1501) is None
    with pytest.raises(InputError, match="revoked already"):
        tokens.revoke(engine, made.id, 1600)
    assert [each.revoked_utc for each in tokens.listed(engine)] == [1500]


def test_only_hashes_are_stored(engine, tmp_path):
    text, _ = tokens.make(engine, "alice", "operate", 2, 1000)
    with sqlite3.connect(tmp_path / "server.sqlite") as database:
        dump = "\n".join(database.iterdump())
    database.close()
    assert "alice" in dump
    assert text not in dump
    assert text[-20:] not in dump  # the secret may hold "_", so its last part can be short


def test_scopes(engine):
    reads, operates = (tokens.make(engine, "x", scope, 2, 0)[1] for scope in tokens.SCOPES)
    assert reads.may("read") and not reads.may("operate")
    assert operates.may("read") and operates.may("operate")


@pytest.mark.parametrize("name", ["", "x" * 65, "two\nlines"])
def test_odd_names_are_refused(engine, name):
    with pytest.raises(InputError, match="printable"):
        tokens.make(engine, name, "read", 2, 0)


def test_a_network_that_guesses_waits_and_others_do_not():
    failures = Failures()
    for second in range(MOST):
        assert failures.wait_s("a", second) == 0
        failures.note("a", second)
    assert failures.wait_s("a", MOST) > WITHIN_S - MOST
    assert failures.wait_s("b", MOST) == 0
    assert failures.wait_s("a", WITHIN_S + 1) == 0
    failures.note("a", WITHIN_S + 1)  # the two oldest have left the window
    assert failures.wait_s("a", WITHIN_S + 1) == 0


def test_commands_make_list_and_revoke_and_the_audit_log_keeps_them(runner, tmp_path):
    def run(*words):
        done = runner.invoke(cli.main, ["admin", *words, "--repo", str(tmp_path)])
        assert done.exit_code == 0, done.output
        return done.stdout

    made = json.loads(run("token", "make", "--name", "bob", "--scope", "operate", "--json"))
    assert made["token"].startswith(f"prt_{made['id']}_")
    assert "bob" in run("token", "list")
    run("token", "revoke", made["id"])
    (listed,) = json.loads(run("token", "list", "--json"))["tokens"]
    assert listed["revoked_utc"] is not None
    assert "token" not in listed
    log = [json.loads(line) for line in run("audit").splitlines()]
    told = [(each["actor"], each["action"], each["outcome"]) for each in log]
    assert told == [
        ("command line", "token revoke", "done"),
        ("command line", "token make", "done"),
    ]
    again = runner.invoke(cli.main, ["admin", "token", "revoke", made["id"], "--repo", tmp_path])
    assert again.exit_code == 2


def test_either_database_keeps_tokens_actions_and_figures(empty_url, tmp_path):
    engine = connect(empty_url)
    upgrade(engine)
    text, made = tokens.make(engine, "alice", "operate", 2, 1000)
    assert tokens.find(engine, text, 1000) == made
    tokens.revoke(engine, made.id, 1500)
    with audit.noted(engine, made, "halt", "stable x", reason="r") as number:
        pass
    entry = audit.entry(engine, number)
    assert entry is not None and entry.outcome == "done"
    served = Traffic(tmp_path, engine)
    for _ in range(2):
        served.count("/metadata/timestamp.json", 10, 10)
        served.store()
    found = statistics.read(engine)
    assert found.bytes_of("metadata")[-1] == 20
    assert (len(found.days), found.installs, sum(found.events)) == (30, 0, 0)
    engine.dispose()


def test_an_action_that_fails_or_is_cut_off_is_in_the_log(engine):
    with pytest.raises(RepositoryInvalidError), audit.noted(engine, None, "halt", "stable x"):
        raise RepositoryInvalidError("the disk is gone")
    with pytest.raises(ZeroDivisionError), audit.noted(engine, None, "halt", "stable y"):
        raise ZeroDivisionError
    with audit.noted(engine, None, "halt", "stable z", reason="r") as number:
        running = audit.entry(engine, number)
    outcomes = [each.outcome for each in audit.entries(engine, 10)]
    assert outcomes == ["done", "failed", "failed: the disk is gone"]
    assert running is not None
    assert (running.outcome, running.details) == ("begun", {"reason": "r"})
    assert [each.number for each in audit.entries(engine, 10, before=number)] == [2, 1]
