"""Conformance: small bundles that test readers in any language.

In: nothing. Out: a sound bundle, and one bundle per fault with the error code it must cause.
Read in this order: tiny_bundle.py, tiny_models.py, sound.py, defects/, bad_bundles.py.
"""
