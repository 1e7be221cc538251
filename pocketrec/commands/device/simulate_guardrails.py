"""`pocketrec device simulate --keys`: looks at guardrails on the clock of the simulated phones.

The server looks by its own clock, which simulated phones are ahead of. So the command makes the
looks: after each simulated day all phones wait, the look is made and signed as the server does it,
and the phones live on.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pocketrec_bundle.errors import InputError

if TYPE_CHECKING:
    from pocketrec_bundle.settings.experiment import Experiment
    from pocketrec_server.repository.keys import Signers

_DAY_MIN = 24 * 60


def guardrails_of(
    repo: Path, channel: str, experiment: "Experiment", keys: tuple[Path, ...], networks: int
) -> "Guardrails | None":
    """Return the guardrails to look at; None without keys.

    Arguments and errors are those of `Guardrails`.
    """
    from pocketrec.commands.repository.rollout_options import signers_of

    if keys:
        return Guardrails(repo, channel, experiment, signers_of(repo, keys), networks)
    if experiment.guardrails:
        click.echo(
            f"note: the guardrails of {experiment.id} are not looked at without --keys.", err=True
        )
    return None


class Guardrails:
    """The guardrails of a simulated experiment."""

    def __init__(
        self, repo: Path, channel: str, experiment: "Experiment", signers: "Signers", networks: int
    ) -> None:
        """Check that looks can be made.

        Args:
            repo: the repository that the server serves; its database has the events.
            channel: of the experiment.
            experiment: that the phones are in.
            signers: with the keys of brake, snapshot and timestamp.
            networks: number of networks of the phones.

        Raises:
            InputError: the experiment has no guardrails, it was looked at already, or the networks
                are too few.
            KeysInvalidError: a key is missing.
            DatabaseInvalidError: the database cannot be read.
        """
        from pocketrec.commands.server.database_options import opened
        from pocketrec_server.halting.guard import subject_of
        from pocketrec_server.halting.looks import is_begun
        from pocketrec_server.halting.network_comparison import FEWEST_NETWORKS
        from pocketrec_server.repository.roles import BRAKE, SNAPSHOT, TIMESTAMP

        if not experiment.guardrails:
            raise InputError(
                f"--keys: {experiment.id} has no guardrails to look at. Add [[guardrails]] to its "
                "file, or leave --keys out."
            )
        if networks < FEWEST_NETWORKS:
            raise InputError(
                f"--networks {networks}: a look needs {FEWEST_NETWORKS} networks in each arm. Give "
                "--networks as many as --devices."
            )
        signers.require([BRAKE, SNAPSHOT, TIMESTAMP])
        self._repo, self._channel, self._one, self._signers = repo, channel, experiment, signers
        with opened(repo, "") as engine:
            if is_begun(engine, subject_of(channel, experiment)):
                raise InputError(
                    f"{experiment.id}: its guardrails were looked at already, and each day is"
                    " looked at once. Draw its arms again: `experiment start FILE --new-salt`."
                )

    def pauses(self, minutes: float) -> list[float]:
        """Return the minutes of the run at which a look is due before its end."""
        from pocketrec_server.halting.looks import LATE_S

        late_min = LATE_S / 60
        last = int((minutes - late_min) // _DAY_MIN)
        found = [day * _DAY_MIN + late_min for day in range(1, last + 1)]
        return [minute for minute in found if minute < minutes]

    def look(self, minute: float) -> None:
        """Make the look that is due at a minute of the run, and halt what breaks a guardrail.

        Raises:
            PocketRecError: a halt cannot be signed.
            SQLAlchemyError: the database failed.
        """
        from pocketrec.commands.server.database_options import opened
        from pocketrec_server.experiments.signing import read_experiments
        from pocketrec_server.halting.guard import look_at

        signed = read_experiments(self._repo, self._channel)
        now_utc = self._one.from_utc + int(minute * 60)
        with opened(self._repo, "") as engine:
            halted = look_at(self._repo, engine, self._signers, signed, self._one, now_utc)
        for look in halted:
            click.echo(f"halted arm {look.arm} of {self._one.id} on day {look.day}", err=True)

    def looks_after(self, minutes: float) -> list[dict[str, Any]]:
        """Make the look at the last whole day of a run; return all looks, each with its `text`.

        Raises the errors of `look`.
        """
        from pocketrec.commands.experiment.table import plain_look
        from pocketrec.commands.server.database_options import opened
        from pocketrec_server.halting.guard import subject_of
        from pocketrec_server.halting.looks import LATE_S, looks
        from pocketrec_server.halting.network_comparison import FEWEST_NETWORKS

        self.look(minutes + LATE_S / 60)
        with opened(self._repo, "") as engine:
            found = looks(engine, subject_of(self._channel, self._one))
        if not found:
            click.echo(
                "note: no look at a guardrail was made. A look needs a whole day, and in each arm "
                f"{FEWEST_NETWORKS} networks with slates.",
                err=True,
            )
        return [plain_look(each) for each in found]
