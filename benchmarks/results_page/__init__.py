"""The page `docs/benchmarks.md` and the claims of `README.md`, made from the stored results.

In: `benchmarks/results/*.json`, in the form of `benchmarks/harness.py`.
Out: Markdown, a pure function of the JSON, so that a page cannot disagree with its figures.
Reading order: `table.py` (cells, bold, targets), `section.py` (one benchmark), then the sections by
subject (`line.py`, `quality.py`, `cold.py`, `phone.py`, `delivery.py`, `readers.py`, `work.py`),
`page.py` and `readme.py`. To run: `python -m benchmarks.results_page docs/benchmarks.md README.md`.
"""
