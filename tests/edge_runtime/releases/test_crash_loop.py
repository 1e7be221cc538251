"""Releases that kill the app, or give no slate, are left by the phone itself."""

import json
import os
import shutil
import signal
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from benchmarks.support.kill_steps import forked
from pocketrec_bundle.errors import InputError
from pocketrec_edge.device import Device
from pocketrec_edge.events import release_outcomes as outcomes
from pocketrec_edge.phone_home import PhoneHome
from pocketrec_edge.releases import blocklist
from pocketrec_edge.releases.crash_loop import MOST_STARTS, BootCounter
from pocketrec_edge.releases.store import Store
from pocketrec_edge.running import Running

A, B = "0a" * 32, "0b" * 32


def renamed(bundle: Path, to: Path, name: str) -> Path:
    """A release of the same files under another name."""
    shutil.copytree(bundle, to)
    manifest = json.loads((to / "manifest.json").read_bytes())
    (to / "manifest.json").write_text(json.dumps(manifest | {"name": name}))
    return to


@pytest.fixture
def home(tiny_release, tmp_path):
    """A phone with two releases, the second one active."""
    store = Store(tmp_path / "home" / "store")
    store.install_bundle(tiny_release, lambda bundle: None)
    store.install_bundle(renamed(tiny_release, tmp_path / "b", "second"), lambda bundle: None)
    return tmp_path / "home"


def opened(home: Path, **settings) -> Device:
    return Device(home, engine="onnx", **settings)


def answer_of(home: Path) -> None:
    opened(home).recommend()


def releases(home: Path) -> tuple[str, str | None]:
    """Hashes of the active release and of the previous one."""
    active, previous = Store(home / "store").active()
    assert active is not None
    return active, previous


def died(home: Path, at: str) -> None:
    """Start the phone in a process that a signal kills in the middle of loading or answering."""
    child = os.fork()
    if child == 0:

        def die(*args, **kwargs):
            os.kill(os.getpid(), signal.SIGKILL)

        if at == "loading":
            setattr(Running, "_loaded", die)  # noqa: B010 - in this child only
        phone = opened(home)
        setattr(phone._recommender, "recommend", die)  # noqa: B010
        phone.recommend()
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


@pytest.mark.parametrize("at", ["loading", "answering"])
def test_a_release_that_kills_three_starts_in_a_row_is_left_for_the_one_before(home, at):
    active, previous = releases(home)
    for _ in range(MOST_STARTS):
        died(home, at)
        assert Store(home / "store").active() == (active, previous)
    phone = opened(home, clock=lambda: 7)
    answer = phone.recommend()
    assert (answer.source, answer.release) == ("model", "tiny")
    assert f"release {active[:12]}: no slate in 3 starts" in answer.faults[0].text
    assert phone.store.active() == (previous, None)
    assert blocklist.failed(PhoneHome(home)) == {active}
    (told,) = outcomes.pending(PhoneHome(home))
    assert (told.manifest, told.outcome, told.ts) == (active, outcomes.REVERTED, 7)
    phone.close()
    after = opened(home).recommend()
    assert (after.release, after.faults) == ("tiny", ())


def test_a_good_slate_in_between_forgives_what_was_before(home):
    before = Store(home / "store").active()
    for _ in range(2):
        for _ in range(MOST_STARTS - 1):
            died(home, "answering")
        phone = opened(home)
        assert phone.recommend().source == "model"
        phone.close()
    died(home, "loading")
    assert opened(home).recommend().release == "second"
    assert Store(home / "store").active() == before


def test_starts_that_ask_for_no_slate_count_for_nothing(home):
    for _ in range(MOST_STARTS + 2):
        phone = opened(home)
        phone.status()
        phone.feedback("é-0", "like")
        phone._running.boot_counter.close()  # the process ends here without closing the phone
    assert opened(home).recommend().release == "second"
    died(home, "loading")
    for _ in range(MOST_STARTS + 2):
        opened(home).close()
    assert BootCounter(PhoneHome(home).trial).begin(releases(home)[0]) == 1  # nor do they forgive


def test_what_an_app_asks_wrongly_is_no_fault_of_the_release(home):
    for _ in range(MOST_STARTS + 1):
        with pytest.raises(InputError):
            opened(home).recommend(scene="no such")
    assert opened(home).recommend().release == "second"


class NoNumbers:
    def run(self, inputs):
        return np.full((1, 3), np.nan, np.float32)


def test_a_model_that_loads_and_gives_no_slate_is_left_too(home):
    for _ in range(MOST_STARTS):
        phone = opened(home)
        assert phone._recommender is not None
        phone._recommender._tower = NoNumbers()
        assert phone.recommend().source == "fallback"
        phone.close()
    assert opened(home).recommend().release == "tiny"


def test_a_phone_without_the_runtime_does_not_blame_its_releases(home):
    before = Store(home / "store").active()
    for _ in range(MOST_STARTS + 1):
        phone = Device(home, engine="none")
        assert phone.recommend().source == "fallback"
        phone.close()
    assert Store(home / "store").active() == before
    assert blocklist.read(PhoneHome(home)) == {}


def test_the_only_release_is_kept_for_its_lists_and_its_models_rest(tiny_release, tmp_path):
    Store(tmp_path / "store").install_bundle(tiny_release, lambda bundle: None)
    for _ in range(MOST_STARTS):
        died(tmp_path, "loading")
    for _ in range(2):
        answer = opened(tmp_path).recommend()
        assert (answer.source, answer.release) == ("fallback", "tiny")
        assert answer.items
        assert any("its lists answer" in fault.text for fault in answer.faults)
    phone = opened(tmp_path)
    assert phone.install(tiny_release)  # somebody brings it again by hand: it gets another trial
    assert opened(tmp_path).recommend().source == "model"


def test_a_killed_release_is_not_opened_as_the_one_before(home):
    active, previous = releases(home)
    assert previous is not None
    blocklist.set_killed(PhoneHome(home), frozenset({previous}))
    (home / "store" / "releases" / f"{active}.json").write_text("{}")
    answer = opened(home).recommend()  # the active one is damaged, the other killed
    assert (answer.release, answer.source) == ("tiny", "fallback")
    blocklist.set_killed(PhoneHome(home), frozenset())
    assert opened(home).recommend().source == "model"


def test_processes_that_start_at_once_are_no_failed_starts(home):
    before = releases(home)
    phones = []
    for _ in range(MOST_STARTS + 2):
        phone = opened(home)
        phone._running.boot_counter.asked()  # none comes to its slate before all have started
        phones.append(phone)
    assert Store(home / "store").active() == before
    del phone, phones
    assert BootCounter(PhoneHome(home).trial).begin(before[0]) == 1
    assert opened(home).recommend().release == "second"


def test_a_file_that_cannot_be_written_counts_nothing_and_stops_nothing(home):
    PhoneHome(home).trial.mkdir()
    assert opened(home).recommend().release == "second"


@pytest.mark.parametrize(
    "data", [b"", b"x", A.encode(), A.encode() + b"\0i\0", B.encode() + b"..."]
)
def test_whatever_stands_in_the_file_a_start_of_another_release_is_the_first(tmp_path, data):
    PhoneHome(tmp_path).trial.write_bytes(data)
    trial = BootCounter(PhoneHome(tmp_path).trial)
    assert trial.begin(A) == 0
    trial.close()
    assert BootCounter(PhoneHome(tmp_path).trial).begin(A) == 1


def test_wherever_a_phone_is_killed_while_it_leaves_a_release_it_answers_from_the_other(home):
    active, previous = Store(home / "store").active()
    for _ in range(MOST_STARTS):
        died(home, "loading")
    steps = 0
    while True:
        work = home.with_name(f"step-{steps}")
        shutil.copytree(home, work)
        code = forked(partial(answer_of, work), steps)
        for _ in range(2):
            phone = opened(work)
            answer = phone.recommend()
            phone.close()
            assert (answer.source, answer.release) == ("model", "tiny")
        assert Store(work / "store").active() == (previous, None)
        assert blocklist.failed(PhoneHome(work)) == {active}
        if code == 0:
            break
        assert code == -signal.SIGKILL
        steps += 1
    assert steps >= 9  # three files: two names synced and one renamed each
