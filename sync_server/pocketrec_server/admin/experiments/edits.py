"""Edit an open experiment: text, end, percentage, ramp and guardrails; no I/O.

A form has one text per setting. Here the texts become values of `signing.edit`, and the command
line that makes the same change, for a server without the channel's key. A test runs the command.
"""

import shlex
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pocketrec_bundle.errors import BundleInvalidError, InputError
from pocketrec_bundle.settings.experiment import Experiment
from pocketrec_bundle.settings.experiment_arms import Guardrail, guardrail_of
from pocketrec_bundle.settings.experiments import Experiments
from pocketrec_server.admin.edits import digits, moment_text, number_of, ramp_step, time_of
from pocketrec_server.experiments import changes
from pocketrec_server.experiments.plan import check_times, completed

FIELDS = ("hypothesis", "ends", "percent", "ramp", "guardrails")
MAX_FIELD = 1000
_LABELS = dict(zip(FIELDS, ("hypothesis", "until", "percent", "ramp", "guardrails"), strict=True))
_KEYS = dict(zip(FIELDS, ("hypothesis", "until_utc", "percent", "ramp", "guardrails"), strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentEdit:
    """New settings of an experiment as a form has them.

    Attributes:
        channel: name of the channel.
        experiment: id of the experiment.
        fields: text of each of FIELDS.
    """

    channel: str
    experiment: str
    fields: Mapping[str, str]

    def changed(self, one: Experiment) -> dict[str, Any]:
        """Return the settings that differ, as `signing.edit` reads them.

        Raises:
            InputError: a text is malformed or out of bounds.
        """
        get, now = self.fields.__getitem__, texts(one)
        values: dict[str, Any] = {}
        for name in FIELDS:
            if _lines(get(name)) != _lines(now[name]):
                values[_KEYS[name]] = _value(name, get(name))
        if "percent" in values or "ramp" in values:  # the command gives both
            values = {"percent": _value("percent", get("percent"))} | values
            values = {"ramp": _value("ramp", get("ramp"))} | values
        return values

    def after(self, found: Experiments, now_utc: int) -> Experiment:
        """Return the experiment with the new settings.

        Args:
            found: experiments of the channel.
            now_utc: unix seconds.

        Raises:
            InputError: the experiment is unknown or not open, a setting is not valid, or devices
                would leave their arms.
        """
        one = changes.find(found, self.experiment)
        plan = changes.edited(found, self.experiment, self.changed(one), now_utc)
        planned = completed(plan, one.salt, one.from_utc, lambda manifest: manifest)
        check_times(planned, now_utc, is_new=False)
        return changes.find(changes.started(found, planned, now_utc), self.experiment)

    def command(self, one: Experiment, reason: str) -> str:
        """Return the command that makes the same change, to run where the keys are."""
        words = ["pocketrec", "experiment", "edit", self.experiment, *_options(self.changed(one))]
        words += ["--reason", reason or "TEXT", "--channel", self.channel]
        return shlex.join([*words, "--repo", "repo/", "--keys", "keys/"])


def texts(one: Experiment) -> dict[str, str]:
    """Return the current settings as a form shows them."""
    return {
        "hypothesis": one.hypothesis,
        "ends": moment_text(one.until_utc),
        "percent": digits(one.percent),
        "ramp": "\n".join(f"{moment_text(utc)}={digits(share)}" for utc, share in one.ramp),
        "guardrails": guardrails_text(one.guardrails),
    }


def guardrails_text(guardrails: Iterable[Guardrail]) -> str:
    """Return guardrails as a form shows them, one a line."""
    return "\n".join(
        f"{each.metric} {digits(each.worse_by)} {digits(each.alpha)}" for each in guardrails
    )


def difference(before: Experiment, after: Experiment) -> tuple[str, str]:
    """Return the settings that differ, with the old and with the new values; "": none differ."""
    old, new = texts(before), texts(after)
    names = [name for name in FIELDS if old[name] != new[name]]
    parts = (
        [f"{_LABELS[name]} {', '.join(_lines(each[name])) or '(empty)'}" for name in names]
        for each in (old, new)
    )
    before_text, after_text = ("; ".join(part) for part in parts)
    return before_text, after_text


def read(channel: str, experiment: str, get: Callable[[str], str | None]) -> ExperimentEdit:
    """Read the fields of a form; missing fields are empty.

    Raises:
        InputError: a text is too long.
    """
    fields = {name: get(name) or "" for name in FIELDS}
    for name, text in fields.items():
        if len(text) > MAX_FIELD:
            raise InputError(f"{name}: expected at most {MAX_FIELD} characters.")
    return ExperimentEdit(channel=channel, experiment=experiment, fields=fields)


def _value(name: str, text: str) -> Any:
    if name == "hypothesis":
        return text.strip()
    if name == "ends":
        return time_of("end", text.strip())
    if name == "percent":
        return number_of("percent", text)
    if name == "ramp":
        return [list(ramp_step(step)) for step in text.replace(",", " ").split()]
    return [asdict(one) for one in guardrails_of(text)]


def guardrails_of(text: str) -> tuple[Guardrail, ...]:
    """Read guardrails, one a line: metric, tolerated change, alpha. Raises InputError."""
    return tuple(_guardrail(line) for line in _lines(text))


def _guardrail(line: str) -> Guardrail:
    words = line.split()
    if len(words) != 3:
        raise InputError(
            f"guardrail {line!r}: expected a metric, the tolerated change and alpha, such as "
            "fallback_share 0.2 0.01."
        )
    value: dict[str, Any] = {"metric": words[0], "worse_by": number_of("guardrail", words[1])}
    value["alpha"] = number_of("guardrail", words[2])
    try:
        return guardrail_of("guardrail", value)
    except BundleInvalidError as err:
        raise InputError(str(err)) from err


def _lines(text: str) -> list[str]:
    """Return the lines of a field with single spaces, without empty ones."""
    return [line for line in (" ".join(each.split()) for each in text.splitlines()) if line]


def _options(changed: Mapping[str, Any]) -> list[str]:
    """Return the options of `experiment edit` for new settings."""
    words: list[str] = []
    if "hypothesis" in changed:
        words += ["--hypothesis", changed["hypothesis"]]
    if "until_utc" in changed:
        words += ["--until", moment_text(changed["until_utc"])]
    if "percent" in changed:
        words += ["--percent", digits(changed["percent"])]  # alone, it ends a ramp
        for utc, share in changed["ramp"]:
            words += ["--ramp", f"{moment_text(utc)}={digits(share)}"]
    for each in changed.get("guardrails", ()):
        words += ["--guardrail", each["metric"], digits(each["worse_by"]), digits(each["alpha"])]
    if changed.get("guardrails") == []:
        words.append("--no-guardrails")
    return words
