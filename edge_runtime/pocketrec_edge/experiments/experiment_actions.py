"""Flags and forced arms: the methods of `Device` that belong to experiments."""

import threading
from collections.abc import Callable
from typing import TypeVar

from pocketrec_bundle.encoding.strict_json import shown
from pocketrec_bundle.settings.experiment_arms import is_flag
from pocketrec_edge.errors import RequestInvalidError
from pocketrec_edge.experiments.device_experiments import DeviceExperiments
from pocketrec_edge.one_at_a_time import one_at_a_time
from pocketrec_edge.user_data import UserData

Value = TypeVar("Value", bool, int, float, str)


class ExperimentActions:
    """Flags and forced arms."""

    turns: threading.RLock
    _user: UserData
    _experiments: DeviceExperiments
    _clock: Callable[[], float]

    @one_at_a_time
    def flag(self, name: str, default: Value) -> Value:
        """Return the value of a flag on this device, for the app.

        The arm of a running experiment, or a shipped arm, decides it; without one it is the
        default. Reading a flag of a running experiment logs the exposure, once: read it where its
        value first matters to the user. A value of another type than the default is not used; see
        `status` for the fault.

        Args:
            name: of the flag, as the experiment's file spells it.
            default: true or false, a number or a text.

        Raises:
            RequestInvalidError: the name is not a text, or the default of another type.

        Example:
            >>> from pathlib import Path
            >>> from pocketrec_edge.device import Device
            >>> with Device(Path("phone"), engine="onnx") as device:
            ...     columns = device.flag("columns", 2)
            >>> columns
            2
        """
        if not isinstance(name, str) or not is_flag(default):
            raise RequestInvalidError(
                f"flag {shown(name)}: expected a name, and true, false, a number or a text of at "
                f"most 200 characters; the default is {shown(default)}."
            )
        now = int(self._clock())
        value, exposures = self._experiments.flag(name, default, now)
        if exposures and self._user.log.add_exposures(exposures, now) is None:
            self._experiments.note(exposures)
        kind = type(default)
        return kind(value)

    @one_at_a_time
    def force_arm(self, experiment: str, arm: str | None) -> None:
        """Put this device into an arm for testing; it stays there until None is set.

        It needs no eligibility and no percentage. What the device logs is marked, and left out of
        every analysis. A release of the arm comes with the next sync.

        Args:
            experiment: id of an open experiment.
            arm: name of its arm; None: the arm that the device drew.

        Raises:
            RequestInvalidError: no such experiment is open, or it has no such arm.
            PocketRecError: the choice cannot be stored.
        """
        self._experiments.force(experiment, arm)
