"""What is done to the engine and its source, drawn from a seed. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

FAILPOINTS = {
    "stream": (
        "after_fetch", "before_invoke", "after_invoke", "before_checkpoint", "after_checkpoint",
        "before_delivery", "after_delivery",
    ),
    "queue": (
        "after_fetch", "before_invoke", "after_invoke", "before_settle", "after_settle",
        "before_delivery", "after_delivery",
    ),
    "push": (
        "accepted_before_commit", "accepted_after_commit", "before_invoke", "after_invoke",
        "before_settle", "after_settle", "before_delivery", "after_delivery",
    ),
}  # fmt: skip
SHORTEST_LIFE, LONGEST_LIFE = 0.06, 0.9
#: the last passage at which a point kills; deliveries are rare
LAST_PASSAGE, LAST_DELIVERY = 40, 2


@dataclass(frozen=True)
class Life:
    """One life of the engine: how it ends, and what happens meanwhile."""

    #: "kill", "failpoint", "term"
    end: str
    #: `name:n`, where that is the end
    failpoint: str
    #: seconds until the end, from its start or from its first delivery
    seconds: float
    #: whether it is let come to its first delivery
    works: bool
    #: "", "pause", "cut", "drop", "restart", "reshard"
    trouble: str


def draw(
    random: Random, points: Sequence[str], troubles: Sequence[str], ends: Sequence[str]
) -> Life:
    """The next life. `points` and `ends` are drawn from evenly: a name may come several times."""
    end = random.choice(list(ends))
    failpoint = ""
    if end == "failpoint":
        name = random.choice(list(points))
        last = LAST_DELIVERY if name.endswith("delivery") else LAST_PASSAGE
        failpoint = f"{name}:{random.randint(1, last)}"
    return Life(
        end=end,
        failpoint=failpoint,
        seconds=random.uniform(SHORTEST_LIFE, LONGEST_LIFE),
        works=random.random() < 0.6,
        trouble=random.choice(list(troubles)) if troubles and random.random() < 0.15 else "",
    )
