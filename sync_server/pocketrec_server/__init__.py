"""The sync server: sign releases, serve them to devices, and collect events.

In: bundles and signing keys. Out: a TUF repository over HTTP; events in a database.
Reading order: repository/, delivery/, events/, halting/, auth/, admin/, copies/; http/ and
storage/ are below them. app.py joins the routes; serve.py runs the app, by serving/.
Rule of the room: the server can only sign with the keys in its folder, and a static file server
could serve everything that it publishes.
"""
