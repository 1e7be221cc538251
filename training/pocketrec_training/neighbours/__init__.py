"""Item neighbours: linear item models, cut to a few weights an item; items of similar content.

In: the training fold and the items' content. Out: the neighbours that ship, and similarities.
Read in this order: fit.py; content_features.py, similar_items.py and content_mix.py for items of
few events; then choose.py, which picks the kind on validation cases.
"""
