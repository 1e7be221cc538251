"""The data sets of `own-data`: public files as people have them, and drawn ones.

In: a folder with public data, or a seed. Out: files that `pocketrec init` reads.
Reading order: `sets.py`, then `drawn.py`.
Rule: nothing here tells PocketRec about a column, a split or a setting.
"""
