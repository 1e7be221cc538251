"""Golden vectors: inputs and expected outputs that prove a client.

In: a draft of a bundle. Out: `golden.json`, `golden_edges.json`, `golden_rules.json`,
`golden_features.json`.
Read in this order: answers.py, searches.py, edges.py, rules.py, features.py, set_proofs.py.
"""
