"""Compares what went in with what came out. Pure.

Invariants: I1 NoSkip, I2 Order, I11 NoPhantom, and nothing acknowledged is lost.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.crash.ledger import POISON, Answer, parse

Line = Mapping[str, Any]
SHOWN = 5


@dataclass(frozen=True)
class Rules:
    """What a source promises."""

    ordered: bool
    #: most deliveries that one kill may repeat
    repeated_per_kill: int
    #: whether a poison record has exactly one failure record, or at least one
    exact_failures: bool


@dataclass
class Verdict:
    """What was found; `problems` says what breaks a promise."""

    records: int = 0
    delivered: int = 0
    lost: list[str] = field(default_factory=list)
    phantom: list[str] = field(default_factory=list)
    out_of_order: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    poison: int = 0
    badly_recorded: list[str] = field(default_factory=list)
    duplicates: int = 0
    duplicates_bound: int = 0
    most_deliveries: int = 0
    others: list[str] = field(default_factory=list)

    @property
    def problems(self) -> list[str]:
        named = {
            "lost": self.lost,
            "phantom": self.phantom,
            "out of order": self.out_of_order,
            "skipped": self.skipped,
            "failure records": self.badly_recorded,
        }
        found = [f"{name}: {len(ids)}: {ids[:SHOWN]}" for name, ids in named.items() if ids]
        if self.duplicates > self.duplicates_bound:
            found.append(f"{self.duplicates} duplicates, at most {self.duplicates_bound}")
        return found + self.others


def effects_of(lines: Iterable[Line]) -> list[Line]:
    """The lines that are deliveries."""
    return [line for line in lines if "id" in line]


def poison_names(lines: Iterable[Line]) -> dict[str, str]:
    """What failure records call a poison record -> its id."""
    return {line["name"]: line["raised"] for line in lines if "raised" in line}


def judge(
    answers: Mapping[str, Answer],
    lines: Sequence[Line],
    failures: Sequence[str],
    kills: int,
    rules: Rules,
) -> Verdict:
    """`lines` is what handlers wrote, in the file's order; `failures` the names in failure
    records."""
    names = poison_names(lines)
    recorded = Counter(names.get(name, name) for name in failures)
    effects = effects_of(lines)
    verdict = Verdict(duplicates_bound=kills * rules.repeated_per_kill)
    delivered = Counter(line["id"] for line in effects)
    wanted = {identifier for identifier, answer in answers.items() if answer == "ok"}
    verdict.records, verdict.delivered = len(wanted), sum(delivered.values())
    verdict.lost = sorted(wanted - delivered.keys() - recorded.keys())
    known = {identifier for identifier, answer in answers.items() if answer != "fail"}
    verdict.phantom = sorted((delivered.keys() | recorded.keys()) - known)
    _judge_failures(verdict, wanted, recorded, rules)
    _judge_duplicates(verdict, lines)
    if rules.ordered:
        verdict.out_of_order = _disorder(effects)
        verdict.skipped = _skips(answers, effects)
    return verdict


def _judge_failures(
    verdict: Verdict, wanted: set[str], recorded: Counter[str], rules: Rules
) -> None:
    poison = {identifier for identifier in wanted if parse(identifier)[2] == POISON}
    verdict.poison = len(poison)
    many = {identifier for identifier, count in recorded.items() if count > 1}
    innocent = {identifier for identifier in recorded if not identifier.endswith(POISON)}
    verdict.badly_recorded = sorted(innocent | (many if rules.exact_failures else set()))


def _judge_duplicates(verdict: Verdict, lines: Iterable[Line]) -> None:
    """Deliveries of an invocation that raised are repeated rightly: they do not count."""
    lines = list(lines)
    raised = {line["inv"] for line in lines if "raised" in line}
    clean = Counter(line["id"] for line in effects_of(lines) if line["inv"] not in raised)
    verdict.duplicates = sum(clean.values()) - len(clean)
    verdict.most_deliveries = max(clean.values(), default=0)


def _disorder(effects: Iterable[Line]) -> list[str]:
    """Ids first delivered after a later one of their unit."""
    found: list[str] = []
    seen: set[str] = set()
    newest: dict[str, int] = defaultdict(int)
    for line in effects:
        identifier = line["id"]
        if identifier not in seen:
            unit, number, _ = parse(identifier)
            if number < newest[unit]:
                found.append(identifier)
            newest[unit] = max(newest[unit], number)
            seen.add(identifier)
    return found


def _skips(answers: Mapping[str, Answer], effects: Iterable[Line]) -> list[str]:
    """Ids passed over, also where a later repetition hides it.

    A run is what one engine delivers of a unit without going back. It advances by one, and begins
    where nothing before it is undelivered; only what was delivered before, or must not be, may be
    left out.
    """
    excused: dict[str, set[int]] = defaultdict(set)
    for identifier, answer in answers.items():
        unit, number, kind = parse(identifier)
        if kind == POISON or answer != "ok":
            excused[unit].add(number)
    found: list[str] = []
    done: dict[str, set[int]] = defaultdict(set)
    gapless: dict[str, int] = defaultdict(int)
    previous: dict[tuple[str, int], int] = {}
    for line in effects:
        unit, number, _ = parse(line["id"])
        run = (unit, line["boot"])
        before = previous.get(run)
        if before is None or number <= before:
            missing = range(gapless[unit] + 1, number)
        else:
            missing = range(before + 1, number)
        # what was handled before, by this engine or another, need not come again
        passed = [n for n in missing if n not in done[unit] and n not in excused[unit]]
        found += [f"{unit}-{n} before {number}" for n in passed]
        excused[unit].update(passed)  # told once
        previous[run] = number
        done[unit].add(number)
        while gapless[unit] + 1 in done[unit] or gapless[unit] + 1 in excused[unit]:
            gapless[unit] += 1
    return found
