"""The memory of experiments: bounded, private, and safe if two processes change it."""

import os
import stat
from dataclasses import replace
from functools import partial

import pytest

from pocketrec_bundle.disk.locks import POSIX, LockedFile
from pocketrec_bundle.errors import PocketRecError
from pocketrec_edge.experiments import arm_memory
from pocketrec_edge.experiments.arm_memory import (
    MAX_BYTES,
    MAX_KEPT,
    ArmMemory,
    change_memory,
    log_again,
    read_memory,
)
from pocketrec_edge.phone_home import PhoneHome

SALT = "0" * 32


@pytest.fixture
def home(tmp_path):
    return PhoneHome(tmp_path / "phone")


def exposed(n, memory):
    return replace(memory, exposed=(*memory.exposed, (f"e{n}", SALT, "a", False)))


def test_a_memory_survives_the_disk(home):
    assert read_memory(home) == ArmMemory()
    made = ArmMemory(
        forced={"blend": "treatment"},
        exposed=(("blend", SALT, "treatment", True), ("other", SALT, "a", False)),
        again=(("other", SALT, "a", False),),
        new_user={("blend", SALT): False},
    )
    assert change_memory(home, lambda _: made) == made == read_memory(home)
    if POSIX:
        assert stat.S_IMODE(home.arms.stat().st_mode) == 0o600
    log_again(home)
    assert read_memory(home) == replace(made, again=made.exposed)
    assert read_memory(home).with_logged(made.exposed) == replace(made, again=())


def test_a_memory_of_before_exposures_were_marked_is_read(home):
    home.make()
    home.arms.write_text(f'{{"exposed":[["e1","{SALT}","a",false]],"forced":{{}},"new_user":[]}}')
    assert read_memory(home) == exposed(1, ArmMemory())


def test_a_memory_stays_small(home):
    for n in range(MAX_KEPT + 5):
        change_memory(home, partial(exposed, n))
    found = read_memory(home)
    assert [entry[0] for entry in found.exposed] == [f"e{n}" for n in range(5, MAX_KEPT + 5)]
    longest = ArmMemory(
        forced={f"{n:032}": "a" * 32 for n in range(MAX_KEPT)},
        exposed=tuple((f"{n:032}", SALT, "a" * 32, True) for n in range(MAX_KEPT)),
        new_user={(f"{n:032}", SALT): False for n in range(MAX_KEPT)},
    )
    assert change_memory(home, lambda _: longest) == longest
    assert home.arms.stat().st_size < MAX_BYTES
    assert read_memory(home) == longest


def test_two_processes_lose_nothing(home):
    """Each adds ten entries; without the lock one would overwrite those of the other."""
    children = []
    for first in (0, 10, 20):
        child = os.fork()
        if child == 0:
            for n in range(first, first + 10):
                change_memory(home, partial(exposed, n))
            os._exit(0)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0]
    assert {entry[0] for entry in read_memory(home).exposed} == {f"e{n}" for n in range(30)}


def test_a_lock_that_stays_taken_is_an_error_and_changes_nothing(home, monkeypatch):
    monkeypatch.setattr(arm_memory, "_WAIT_S", 0.05)
    home.make()
    with LockedFile(home.arms_lock), pytest.raises(PocketRecError, match="cannot be changed"):
        change_memory(home, lambda memory: exposed(1, memory))
    assert read_memory(home) == ArmMemory()


def test_a_damaged_memory_is_replaced_by_the_next_change(home):
    home.make()
    home.arms.write_bytes(b"{")
    with pytest.raises(ValueError, match="damaged"):
        read_memory(home)
    change_memory(home, lambda memory: exposed(1, memory))
    assert len(read_memory(home).exposed) == 1
