"""Items: the index and the catalogue of a bundle.

In: item vectors and the item table; or a bundle and a file of changes. Out: files of the bundle.
Read in this order: index_builder.py, nprobe.py, content.py with cohorts.py; then item_table.py,
changes.py, apply_changes.py and catalogue.py, which makes a release without training.
"""
