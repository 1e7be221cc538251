"""Recipe: typed settings of one recommender.

In: a TOML file. Out: a checked `Recipe`.
Read in this order: schema.py, then toml.py, which writes a recipe.
"""
