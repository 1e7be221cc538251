"""The sync server: signs releases, serves them to phones, and collects their events.

In: bundles and signing keys. Out: a TUF repository over HTTP; events in a database.
Read in this order: repository/, delivery/, events/, halting/, auth/, admin/, copies/; http/ and
storage/ are below them. app.py joins the routes; serve.py runs the app.
Rule of the room: the server publishes nothing that it has no key for, and a static file server
could serve everything that it publishes.
"""
