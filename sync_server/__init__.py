"""The sync server: signs releases and hands them to phones, and takes their events.

In: bundles and keys. Out: a TUF repository over HTTP, events in a database.
Read in this order: roles.py, keys.py, state.py, repository.py with channel.py, stages.py, blobs.py,
deltas.py and halts.py, renewal.py, rotation.py, app.py, events.py, serve.py. Rule of the room: a
server publishes nothing; what it hands out could come from a static file server.
"""
