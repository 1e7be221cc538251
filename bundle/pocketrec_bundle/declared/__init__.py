"""Declared features: columns that a recipe names, beside title, categories, price and year.

In: declarations of a recipe, names of a vocabulary. Out: codes and numbers, the same on a server
and on a device.
Read in this order: feature.py, a declaration and its bounds; fitted.py, what training adds.
"""

from pocketrec_bundle.declared.feature import Feature, problems
from pocketrec_bundle.declared.fitted import FittedFeature, FittedFeatures

__all__ = ["Feature", "FittedFeature", "FittedFeatures", "problems"]
