"""Export: a finished run becomes a bundle, and every file of it is verified.

In: a run folder; or a bundle and changes of its catalogue. Out: a bundle, or a kit for an app.
Read in this order: build.py, models/, gates/, model_files.py, model_sets.py, golden/, items/,
card.py, kit/; conformance/ makes bundles that test readers. Rule of the room: `pocketrec_edge` is
imported in gates and proofs only.
"""
