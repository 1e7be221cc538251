"""Guardrails of a channel's releases: signed by the publisher, read by the server alone.

FORMAT.md, "Guardrails". They are a target of their own beside `policy.json`, because apps refuse a
policy with other keys. Devices never ask for it.
"""

from dataclasses import asdict, dataclass

from pocketrec_bundle.disk.files import canonical_json
from pocketrec_bundle.encoding.strict_json import is_integer, matches, parse_json, refuse_newer
from pocketrec_bundle.errors import BundleInvalidError
from pocketrec_bundle.settings.experiment_arms import METRICS, Guardrail, guardrail_of
from pocketrec_bundle.settings.form import Form
from pocketrec_bundle.settings.rollout import CHANNEL

FILE = "guardrails.json"
FORMAT = 1
MAX_BYTES = 16 << 10
MAX_DAYS = 365
DAYS = 14
_FORM = Form(code="rollout", format=FORMAT)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseGuardrails:
    """When the server halts a new release of a channel because it is worse than earlier ones.

    Attributes:
        channel: its name.
        guardrails: at most one for each metric.
        days: daily looks at each stage of a rollout, 1..365.
        format: of `guardrails.json`.

    Example:
        >>> limit = Guardrail(metric="ctr", worse_by=0.05, alpha=0.01)
        >>> limits = ReleaseGuardrails(channel="stable", guardrails=(limit,))
        >>> ReleaseGuardrails.from_bytes(limits.to_bytes()) == limits
        True
    """

    channel: str
    guardrails: tuple[Guardrail, ...] = ()
    days: int = DAYS
    format: int = FORMAT

    def to_bytes(self) -> bytes:
        """Encode for signing; equal guardrails give equal bytes.

        Raises:
            BundleInvalidError: a server would refuse the file.
        """
        value = asdict(self)
        value["guardrails"] = list(value["guardrails"])
        data = canonical_json(value)
        ReleaseGuardrails.from_bytes(data)
        return data

    @classmethod
    def from_bytes(cls, data: bytes) -> "ReleaseGuardrails":
        """Check and build guardrails from the bytes of `guardrails.json`.

        Raises:
            BundleTooNewError: the format is later than this version knows.
            BundleInvalidError: the file is too large or not JSON, a key is missing, unknown, of the
                wrong type or out of bounds, or a metric comes twice.
        """
        value = parse_json(FILE, data, MAX_BYTES)
        refuse_newer(FILE, value, FORMAT, "format")
        if not isinstance(value, dict) or not is_integer(value.get("format"), FORMAT, FORMAT):
            raise BundleInvalidError(f"{FILE}: of another format than {FORMAT}", code="rollout")
        fields = _FORM.keyed(FILE, value, cls)
        _FORM.insist(FILE, "channel", "a channel's name", matches(CHANNEL, fields["channel"]))
        days = is_integer(fields["days"], 1, MAX_DAYS)
        _FORM.insist(FILE, "days", f"an integer 1..{MAX_DAYS}", days)
        listed = fields["guardrails"]
        sound = isinstance(listed, list) and len(listed) <= len(METRICS)
        _FORM.insist(FILE, "guardrails", f"a list of at most {len(METRICS)}", sound)
        found = tuple(
            guardrail_of(f"{FILE}: guardrail {number}", one, _FORM)
            for number, one in enumerate(listed, 1)
        )
        if len({one.metric for one in found}) < len(found):
            raise BundleInvalidError(f"{FILE}: a metric stands twice", code="rollout")
        return cls(channel=fields["channel"], guardrails=found, days=fields["days"])
