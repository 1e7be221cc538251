"""The sync server: signs releases and hands them to phones, and takes their events.

In: bundles and keys. Out: a TUF repository over HTTP, events in a database.
Read in this order: keys.py, repository.py, deltas.py, app.py, events.py, serve.py. Rule of the
room: nothing that a phone trusts is made while serving; a static file server could do it.
"""
