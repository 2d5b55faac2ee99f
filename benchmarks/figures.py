"""What a benchmark found: samples of both sides, their medians and ratio, and the goal."""

from __future__ import annotations

import operator
import statistics
from dataclasses import dataclass, field
from typing import Any, Literal

_COMPARE = {">=": operator.ge, "<=": operator.le, "<": operator.lt, "==": operator.eq}


@dataclass(frozen=True, slots=True)
class Goal:
    """A bound on eventmesh's median, or on the ratio of medians (eventmesh / peer)."""

    of: Literal["median", "ratio"]
    relation: Literal[">=", "<=", "<", "=="]
    bound: float

    def __str__(self) -> str:
        times = "x" if self.of == "ratio" else ""
        return f"{self.relation} {self.bound:,g}{times}"

    def is_met(self, figure: Figure) -> bool | None:
        """None when there is nothing to compare with."""
        value = figure.median if self.of == "median" else figure.ratio
        return None if value is None else bool(_COMPARE[self.relation](value, self.bound))


@dataclass(frozen=True, slots=True)
class Figure:
    """One measure: a sample per round (or per event) of eventmesh and perhaps of a peer."""

    measure: str
    unit: str
    ours: tuple[float, ...]
    peer: str = ""
    theirs: tuple[float, ...] = ()
    goals: tuple[Goal, ...] = ()

    @property
    def median(self) -> float | None:
        return statistics.median(self.ours) if self.ours else None

    @property
    def peer_median(self) -> float | None:
        return statistics.median(self.theirs) if self.theirs else None

    @property
    def ratio(self) -> float | None:
        """eventmesh's median over the peer's."""
        ours, theirs = self.median, self.peer_median
        return ours / theirs if ours is not None and theirs else None

    @property
    def verdict(self) -> str:
        """yes, NO, or "" when there is no goal or nothing to compare with."""
        found = [goal.is_met(self) for goal in self.goals]
        if False in found:
            return "NO"
        return "" if None in found or not found else "yes"

    def as_json(self) -> dict[str, Any]:
        return {
            "measure": self.measure,
            "unit": self.unit,
            "eventmesh": {"median": self.median, "samples": self.ours},
            "peer": {"name": self.peer, "median": self.peer_median, "samples": self.theirs},
            "ratio": self.ratio,
            "goals": [{"goal": str(g), "of": g.of, "met": g.is_met(self)} for g in self.goals],
        }


@dataclass(slots=True)
class Findings:
    """A benchmark's figures, and what one has to know to read them."""

    figures: list[Figure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(
        self,
        measure: str,
        unit: str,
        ours: list[float],
        *goals: Goal,
        peer: str = "",
        theirs: list[float] | None = None,
    ) -> None:
        """A peer without samples was skipped; the figure stands alone then."""
        name = peer if theirs else ""
        self.figures.append(Figure(measure, unit, tuple(ours), name, tuple(theirs or ()), goals))

    def as_json(self) -> dict[str, Any]:
        return {"figures": [one.as_json() for one in self.figures], "notes": self.notes}


_HEAD = ("benchmark", "measure", "unit", "eventmesh", "peer", "", "ratio", "goal", "met", "spread")
_LEFT = (0, 1, 2, 5, 7)


def render_table(found: dict[str, Findings]) -> str:
    """All figures in one aligned table, notes below."""
    rows = [_HEAD, *(_row(name, f) for name, one in found.items() for f in one.figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    lines = ["  ".join(_pad(row, widths)).rstrip() for row in rows]
    lines.insert(1, "-" * max(map(len, lines)))
    notes = [f"{name}: {note}" for name, one in found.items() for note in one.notes]
    return "\n".join([*lines, "", *notes])


def _pad(row: tuple[str, ...], widths: list[int]) -> list[str]:
    return [
        text.ljust(width) if column in _LEFT else text.rjust(width)
        for column, (text, width) in enumerate(zip(row, widths, strict=True))
    ]


def _row(name: str, figure: Figure) -> tuple[str, ...]:
    return (
        name,
        figure.measure,
        figure.unit,
        _number(figure.median),
        _number(figure.peer_median),
        figure.peer,
        "" if figure.ratio is None else f"{figure.ratio:.2f}x",
        ", ".join(map(str, figure.goals)),
        figure.verdict,
        _spread(figure.ours),
    )


def _number(value: float | None) -> str:
    if value is None:
        return ""
    digits = 0 if value >= 1000 or value == int(value) else 1 if value >= 10 else 3
    return f"{value:,.{digits}f}"


def _spread(samples: tuple[float, ...]) -> str:
    """The middle half of the samples, as a part of their median."""
    if len(samples) < 2 or not statistics.median(samples):
        return ""
    low, middle, high = statistics.quantiles(samples, n=4, method="inclusive")
    return f"{(high - low) / middle:.0%}"
