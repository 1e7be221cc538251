"""The online request: candidates, ranker, re-ranking, slate, each with its reason.

In: a `Query` (history, time, filters, surface) and a release. Out: a `Slate` with faults.
Reading order: query.py, pipeline.py; then its stages: filters.py, index.py (search over nprobe
cells), surfaces.py, policy_rerank.py or rule_inputs.py with rules/ and sponsored_placements.py,
reasons.py, slate.py; then fallback_slate.py with fallback.py and popular_list.py (without models),
explain.py with contributions.py.
"""
