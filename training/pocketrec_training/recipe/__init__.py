"""Recipe: typed settings of one recommender.

In: a TOML file. Out: a checked `Recipe`.
Read in this order: schema.py and tables.py, the settings; bounds.py, their types; load.py, which
reads a file; checks.py; renamed_keys.py for the keys of earlier versions; toml.py, which writes a
recipe.
"""
