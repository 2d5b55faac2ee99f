"""What producers wrote, and what they know of it: acknowledged, refused, or no answer."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Answer = Literal["ok", "fail", "unknown"]
POISON, FLAKY = "p", "f"
_ID = re.compile(r"(u\d+)-(\d+)([pf]?)")


def parse(identifier: str) -> tuple[str, int, str]:
    """Unit, number within it, and kind ("", POISON or FLAKY) of an id. Raises ValueError."""
    found = _ID.fullmatch(identifier)
    if found is None:
        raise ValueError(f"{identifier!r} is no id of ours")
    return found[1], int(found[2]), found[3]


@dataclass
class Ledger:
    """Ids given out, rising by one in each unit, and the answers to them."""

    units: int
    random: random.Random
    poison: float = 0.003
    flaky: float = 0.003
    answers: dict[str, Answer] = field(default_factory=dict)
    _next: dict[int, int] = field(default_factory=dict)

    def draw(self, count: int) -> list[str]:
        """New ids of units chosen at random; `unknown` until answered."""
        drawn = [self._one(self.random.randrange(self.units)) for _ in range(count)]
        self.answers |= dict.fromkeys(drawn, "unknown")
        return drawn

    def _one(self, unit: int) -> str:
        number = self._next[unit] = self._next.get(unit, 0) + 1
        dice = self.random.random()
        kind = POISON if dice < self.poison else FLAKY if dice < self.poison + self.flaky else ""
        return f"u{unit}-{number}{kind}"

    def note(self, answers: Mapping[str, Answer]) -> None:
        self.answers |= answers

    def acknowledged(self) -> set[str]:
        return {identifier for identifier, answer in self.answers.items() if answer == "ok"}
