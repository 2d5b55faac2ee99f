"""Did you mean: the nearest known name, whatever its case and separators."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

_MAX_LISTED = 30


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name most like `name`: `BatchSize`, `batch-size` and `bacth_size` are near
    `batch_size`; None when nothing is."""
    folded = {_fold(each): each for each in known}
    # difflib is quadratic, and a key can be as long as the file
    matches = difflib.get_close_matches(_fold(name[:100]), folded, n=1, cutoff=0.7)
    return folded[matches[0]] if matches else None


def did_you_mean(name: str, known: Iterable[str], what: str = "known keys") -> str:
    """A hint for an unknown name: the nearest known one, else all of them."""
    names = sorted(known)
    if near := nearest(name, names):
        return f"did you mean '{near}'?"
    if not names:
        return f"there are no {what}"
    more = ", ..." if len(names) > _MAX_LISTED else ""
    return f"{what}: {', '.join(names[:_MAX_LISTED])}{more}"


def _fold(name: str) -> str:
    return re.sub(r"[-_ .]", "", name).lower()
