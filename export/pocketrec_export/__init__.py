"""The export room: a finished run becomes a bundle, every file of it proved.

Comes in: a run folder (models, item vectors, tables); or a bundle and changes of its catalogue.
Goes out: a bundle folder, or a kit for one kind of app. All of it, or nothing.
Reading order: `build.py` is the line; `convert.py` makes model files (`freeze.py`, `tower_form.py`,
`ranker_form.py` on `ranker_*.py`, `tflite*.py`, `onnx*.py`, `ort*.py`), `operators.py` reads what
they need; `probe.py`, `measure.py`, `quality.py` measure, `gates.py` decides, `golden.py` (with
`golden_edges.py`, `golden_searches.py`, `golden_rules.py`) and `card.py` tell; `content.py` and
`index_builder.py` pack items; `catalogue.py` makes the next catalogue, `kit.py` what an app takes.
Rule of the room: `edge_runtime` only in gates and proofs, so that they measure what a phone runs.
"""
