"""Admin: the web site and the API for operators.

In: the repository, the database, a token. Out: pages, JSON, actions on a channel.
Reading order: services.py, operations.py, site.py with actions.py, pages.py and layout.py;
api.py; statistics.py, trail.py, banners.py, plots.py and formatting.py prepare what pages show.
"""
