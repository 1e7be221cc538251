"""The device: everything a phone does, with no network.

In: a signed release, the user's own events. Out: slates, and events for the server.
Read in this order: device.py with request_checks.py and one_at_a_time.py, running.py, store.py with
late_check.py, popular_list.py and private_home.py, eventlog.py with answer_log.py, event.py,
event_schema.py, consent.py, retention.py, cipher.py, showings.py, feedback.py and privacy.py, then
pipeline.py with slate.py, texts.py and stage_clock.py, scenes.py, filters.py, index.py, engines.py
with engine_notes.py, rerank.py, rules/, offers.py, paging.py, selftest.py with golden_edges.py and
golden_rules.py, sync.py with sync_metadata.py, sync_choice.py, sync_release.py, sync_files.py,
sync_transfer.py and sync_http.py, sync_events.py, sync_outcomes.py, sync_watch.py with
sync_hints.py, offline.py; then which release it takes and when: rollout.py, conditions.py, wake.py,
trial.py, refusals.py, too_new.py, outcomes.py; then the proofs: parity.py, stages.py, verify.py;
then what people look at: explain.py with contributions.py, memory.py, simulator/.
Rule of the room: numpy, one engine, and `bundle`; python-tuf only in sync*.py.
"""

from pocketrec_edge.device import Device
from pocketrec_edge.recommend.pipeline import Recommender
from pocketrec_edge.recommend.slate import Slate, SlateItem

__all__ = ["Device", "Recommender", "Slate", "SlateItem"]
