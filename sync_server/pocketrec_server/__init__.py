"""The sync server: signs releases and hands them to phones, and takes their events.

In: bundles and keys. Out: a TUF repository over HTTP, events in a database. Read in this order:
signing   roles.py, keys.py, proof.py, state.py, repository.py with place.py, publishable.py,
          channel.py, stages.py, blobs.py, deltas.py, history.py and policy_changes.py; halts.py,
          renewal.py, rotation.py, pruning.py, rollout.py
serving   app.py with checks.py, files.py, event_routes.py, outcome_routes.py, hints.py, health.py,
          metrics.py, each described for openapi.py; serve.py runs it by
          waitress_server.py, in several processes by workers.py
events    event_routes.py with uploads.py, content_coding.py, events.py, allowance.py, quotas.py,
          intake.py; event_export.py, event_stats.py, erasure.py; tables.py, database.py,
          migrations/
operating tokens.py, audit.py, gate.py, sessions.py; live.py with standing.py, figures.py,
          banners.py and trail.py are what admin_api.py and admin_site.py (admin_layout.py,
          admin_pages.py) show; operations.py is what they do, by admin_actions.py
copying   inventory.py, mirror.py, backup.py, seal.py, restore.py
Rule of the room: a server publishes nothing that it has no key for; what it hands out could come
from a static file server.
"""
