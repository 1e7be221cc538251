"""The device: recommends offline, logs what the user does, installs releases and syncs.

In: a signed release, the user's own events. Out: answers (slates with faults), and events for the
server if the user has agreed. Reading order: `device.py` with `slate_service.py`, `running.py` and
`user_data.py`; then `recommend/` (a request), `releases/` (what is installed), `events/` (the
user's log), `engines/`, `sync/` (the only folder that opens sockets), `simulator/`.
Rule of the room: numpy, one engine, and the bundle; python-tuf and urllib3 only in `sync/`.
"""

from pocketrec_edge.answers import Answer, RuleEffect, SlateItem, Source, Sponsorship
from pocketrec_edge.device import Device
from pocketrec_edge.device_status import Interests, Status
from pocketrec_edge.faults import Fault, FaultCode
from pocketrec_edge.recommend.pipeline import Recommender
from pocketrec_edge.recommend.slate import Slate

__all__ = [
    "Answer",
    "Device",
    "Fault",
    "FaultCode",
    "Interests",
    "Recommender",
    "RuleEffect",
    "Slate",
    "SlateItem",
    "Source",
    "Sponsorship",
    "Status",
]
