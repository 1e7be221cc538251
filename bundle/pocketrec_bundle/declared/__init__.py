"""Declared features: columns that a recipe names, beside title, categories, price and year.

In: declarations of a recipe, names of a vocabulary. Out: codes and numbers, the same on a server
and on a device.
Read in this order: feature.py, a declaration and its bounds; fitted.py, what training adds;
encoded.py, values as a release has them; item_features.py, the files and the ranker's inputs;
write.py; in_words.py.
"""

from pocketrec_bundle.declared.feature import Feature, problems
from pocketrec_bundle.declared.fitted import FittedFeature, FittedFeatures

__all__ = ["Feature", "FittedFeature", "FittedFeatures", "problems"]
