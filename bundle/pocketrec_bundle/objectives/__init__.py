"""Objectives: what the heads of a ranker mean, and the formula of the final score.

In: outputs of the ranker, numeric item columns. Out: final scores, the same on a server and on a
device.
Read in this order: heads.py with `objectives.json`, formula.py with the tree, formula_text.py with
its text, evaluate.py, reference.py (plain loops), final_score.py.
"""

from pocketrec_bundle.objectives.final_score import Scored, final_scores, head_values
from pocketrec_bundle.objectives.formula_text import FormulaError, parse
from pocketrec_bundle.objectives.heads import HeadMeaning, Objectives

__all__ = [
    "FormulaError",
    "HeadMeaning",
    "Objectives",
    "Scored",
    "final_scores",
    "head_values",
    "parse",
]
