"""Find exposures that never reached the server, so that the device logs them again.

An old server rejects them, and retention removes those that wait for too long. Without its exposure
a device counts in no arm.
"""

from dataclasses import replace

from pocketrec_edge.events.event import Event
from pocketrec_edge.events.log import EventLog
from pocketrec_edge.events.schema import SENT, UNSENT
from pocketrec_edge.events.slate_events import SALT_DIGITS
from pocketrec_edge.experiments.arm_memory import ArmMemory, Entry, change_memory
from pocketrec_edge.phone_home import PhoneHome

_Key = tuple[object, object, object, bool]


def note_sent(log: EventLog, home: PhoneHome) -> None:
    """Remember which exposures were sent; those that are gone unsent are logged again.

    Call it after an upload, while the consent stands. It writes only what changed.

    Raises:
        EventLogError: the log cannot be read.
        PocketRecError: the memory cannot be written.
    """
    if not home.arms.exists():
        return

    def noted(memory: ArmMemory) -> ArmMemory:
        states: dict[int, set[_Key]] = {SENT: set(), UNSENT: set()}
        for event, state in log.exposures():
            states.setdefault(state, set()).add(_logged(event))
        known = [one for one in memory.exposed if one not in memory.again]
        sent = tuple(one for one in known if one in memory.sent or _key(one) in states[SENT])
        lost = tuple(one for one in known if one not in sent and _key(one) not in states[UNSENT])
        return replace(memory, sent=sent, lost=lost)

    change_memory(home, noted)


def _key(entry: Entry) -> _Key:
    return entry[0], entry[1][:SALT_DIGITS], entry[2], entry[3]


def _logged(event: Event) -> _Key:
    context = event.context
    return event.event, context.get("salt"), context.get("arm"), bool(context.get("forced"))
