"""Pages of experiments: state, results, bounds, and the buttons that change one.

In: signed experiments and halts, exposures, looks and results in the database. Out: views of the
admin site. Reading order: page.py, steps.py, actions.py, edits.py, settings.py;
release_guardrails.py. The figures are those of `admin.attention.figures`.
"""
