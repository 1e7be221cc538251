"""Events: the SQLite log of the device, and all that depends on it.

In: what the user did and was shown. Out: a history; uploads with consent; a copy or erasure.
Read in this order: event.py, slate_events.py, schema.py, log.py, app_session.py, retention.py,
cipher.py, sealed_file.py, consent.py, outbox.py, install_id.py, frequency_cap.py, feedback.py,
interests.py, paging.py, privacy.py.
"""
