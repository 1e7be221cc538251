"""Kit: a bundle cut down to one target, with sources for an app.

In: a bundle. Out: a folder that an app developer copies into an app.
Read in this order: build.py, facts.py, sources.py with templates/, languages.py, versions.py.
"""
