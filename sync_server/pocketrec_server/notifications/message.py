"""A message: something began to need attention, or no longer does; no I/O."""

import json
import secrets
from dataclasses import asdict, dataclass

BEGAN, ENDED, TEST = STATES = ("began", "ended", "test")
FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One entry of the attention line, as notifications see it.

    Attributes:
        kind: one of `settings.KINDS`.
        level: bad or warn.
        text: the fact, in one sentence without a full stop.
        channel: channel of the release, or "".
        manifest: SHA-256 of the release's manifest, or "".
        arm: id of an experiment, a slash, and the name of its arm, or "".
    """

    kind: str
    level: str
    text: str
    channel: str = ""
    manifest: str = ""
    arm: str = ""

    @property
    def key(self) -> str:
        """Identity of the notice: its text changes with each report, its key does not."""
        return f"{self.kind} {self.channel} {self.manifest or self.arm} {self.level}"

    @classmethod
    def of_key(cls, key: str, text: str, level: str) -> "Notice":
        """Return the notice of a key, with another level."""
        kind, channel, about, _ = key.split(" ")
        manifest, arm = ("", about) if "/" in about else (about, "")
        return cls(kind=kind, level=level, text=text, channel=channel, manifest=manifest, arm=arm)


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What is sent: the body of the webhook as JSON.

    Attributes:
        id: random id; equal for all tries.
        state: one of STATES.
        at_utc: unix seconds.
        link: page of the site, or "".
        kind: this and all that follow: see `Notice`.
        format: version of this format.
    """

    id: str
    state: str
    at_utc: int
    kind: str
    level: str
    text: str
    channel: str
    manifest: str
    link: str
    format: int = FORMAT

    def to_text(self) -> str:
        """Return the message as JSON."""
        return json.dumps(asdict(self), sort_keys=True)

    @property
    def subject(self) -> str:
        """Return one line for people."""
        before = {BEGAN: "", ENDED: "resolved: ", TEST: "test: "}[self.state]
        return f"{before}{self.text}"


def message(state: str, notice: Notice, now_utc: int, site: str) -> Message:
    """Make a message of a notice."""
    link = ""
    if site:
        page = f"releases/{notice.channel}/{notice.manifest}" if notice.manifest else ""
        link = f"{site}{'experiments' if notice.arm else page}"
    facts = asdict(notice)
    del facts["arm"]  # the text names it
    return Message(id=secrets.token_hex(16), state=state, at_utc=now_utc, link=link, **facts)


def parse(text: str) -> Message:
    """Return the message of a stored row."""
    return Message(**json.loads(text))
