"""Phones with experiments, as a sync leaves them."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pocketrec_bundle.settings.assignment import assigned_arm
from pocketrec_bundle.settings.experiment import RUNNING, Experiment
from pocketrec_bundle.settings.experiment_arms import Arm
from pocketrec_bundle.settings.experiments import Experiments
from pocketrec_edge.device import Device
from pocketrec_edge.experiments.signed_experiments import keep_experiments
from pocketrec_edge.phone_home import PhoneHome

NOW = 1_700_000_000
HOUR_S = 3600


@pytest.fixture
def experiment() -> Callable[..., Experiment]:
    """Return a function that makes a running experiment; `treatment`: keys of its second arm."""

    def make(name: str = "blend", treatment: dict[str, Any] | None = None, **more: Any):
        arms = (
            Arm(name="control", share=0.5),
            Arm(name="treatment", share=0.5, **(treatment or {})),
        )
        values: dict[str, Any] = {
            "hypothesis": "",
            "salt": hashlib.sha256(name.encode()).hexdigest()[:32],
            "layer": name,
            "segment": (0.0, 1.0),
            "state": RUNNING,
            "from_utc": NOW - HOUR_S,
            "until_utc": NOW + HOUR_S,
            "arms": arms,
        }
        return Experiment(id=name, **values | more)

    return make


class Phone:
    """A phone with the tiny release, and experiments that the test sets."""

    def __init__(self, home: Path, bundle: Path) -> None:
        self.home, self.bundle, self.now = PhoneHome(home), bundle, NOW
        self.home.make()
        self.device = self.opened()

    def opened(self, **more: Any) -> Device:
        return Device(
            self.home.folder, bundle=self.bundle, engine="onnx", clock=lambda: self.now, **more
        )

    def has(self, *experiments: Experiment, **more: Any) -> None:
        """Leave the experiments as a sync does."""
        signed = Experiments(channel="stable", experiments=experiments, **more)
        keep_experiments(self.home, signed.to_bytes())

    def draws(self, arm: str | None, one: Experiment) -> None:
        """Give the phone a bucket id that draws an arm; None: one that is not enrolled."""
        now = replace(one, state=RUNNING, from_utc=0, until_utc=2)
        for n in range(1000):
            found = assigned_arm(now, None, n.to_bytes(16, "big"), 1)
            if (found and found.name) == arm:
                self.home.bucket_id.write_text(f"{n:032x}")
                return
        raise AssertionError("no such bucket id")

    def events(self, kind: str) -> list[Any]:
        """Events of a kind in the log, in the order in which they were logged."""
        log = self.device._log
        assert log is not None
        found = log._connection.execute("SELECT id FROM event ORDER BY seq").fetchall()
        order = [row[0] for row in found]
        rows = [row[0] for row in log.export_rows() if isinstance(row, tuple)]
        logged = [event for event in rows if event.kind == kind]
        return sorted(logged, key=lambda event: order.index(event.id))


@pytest.fixture
def phone(tmp_path, tiny_release):
    made = Phone(tmp_path / "phone", tiny_release)
    yield made
    made.device.close()


@pytest.fixture
def phone_of(tmp_path):
    """Return a function that makes a phone that answers from a bundle folder."""
    phones = []

    def make(bundle: Path, home: str = "phone") -> Phone:
        phones.append(Phone(tmp_path / home, bundle))
        return phones[-1]

    yield make
    for one in phones:
        one.device.close()
