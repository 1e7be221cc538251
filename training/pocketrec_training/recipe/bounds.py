"""Types of recipe values that several settings share."""

from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le

from pocketrec_bundle.encoding.strict_json import MAX_NUMBER, MAX_TEXT
from pocketrec_bundle.settings.rules import MAX_PLACE, NUMBERS

Share = Annotated[float, Ge(0.0), Le(1.0)]
Positive = Annotated[int, Ge(1)]
Count = Annotated[int, Ge(0)]
Above0 = Annotated[float, Gt(0.0)]
Minutes = Annotated[float, Ge(0.0)]
"""Cap of a stage's training time, without set-up and compilation; 0 = no cap."""
Price = Annotated[float, Ge(0.0), Le(MAX_NUMBER)]
Prior = Annotated[float, Ge(NUMBERS["alpha"][0]), Le(NUMBERS["alpha"][1])]
Place = Annotated[int, Ge(1), Le(MAX_PLACE)]
Seed = Annotated[int, Ge(0), Le(2**32 - 1)]
"""Bounds of numpy's and Keras' seeds."""
MAX_NAME = MAX_TEXT - 20
"""Characters; a release's name adds a time and the digest of a catalogue's change."""
Variant = Literal["fp32", "fp16", "dynamic", "int8", "selective"]
SplitKind = Literal["leave_last", "global_time", "last_basket", "random", "given"]
TimeUnit = Literal["auto", "s", "ms", "us", "ns", "days", "excel"]
FORBID = {"extra": "forbid"}
"""For `__pydantic_config__`: an unknown key is an error."""
