"""Admin: the web site and the API for operators.

In: the repository, the database, a token. Out: pages, JSON, actions on a channel.
Reading order: services.py, operations.py and edits.py, site.py with actions.py, pages.py and
layout.py; api.py; experiments/ and attention/. release.py with comparison.py, adoption.py,
cohorts.py, trail.py, notices.py, statistics.py, plots.py and formatting.py prepare what pages show.
"""
