"""Recipe: typed settings of one recommender.

In: a TOML file. Out: a checked `Recipe`.
Read in this order: schema.py, renamed_keys.py for the keys of earlier versions, then toml.py, which
writes a recipe.
"""
