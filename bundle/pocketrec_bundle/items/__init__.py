"""The items of a release: ids, columns, audience, cohort lists and texts.

In: array files and the catalogue. Out: checked columns and ids by row.
Read in this order: items.py; v2.py and v1.py (the item files of each format version); audience.py;
cohorts.py; catalogue.py.
"""
