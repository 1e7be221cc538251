"""Golden vectors: inputs with expected answers, which prove that a client is right.

In: the golden files of a release. Out: checked cases; `pocketrec_edge.releases` replays them.
Read in this order: vectors.py (requests through the models); edges.py and rules.py (cases without
models); set_proof.py (rankers of arms); form.py (checks that they share).
"""
