"""One run: producers, the engine, its nemesis, and the verdict."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from tests.acceptance.engine import free_port
from tests.crash.adapters import ADAPTERS
from tests.crash.adapters.contract import Adapter, Site
from tests.crash.engine import Effects, Engine, failure_records, state_problems
from tests.crash.ledger import Ledger
from tests.crash.nemesis import FAILPOINTS, Life, draw
from tests.crash.oracle import Verdict, judge
from tests.servers import FaultProxy, private_server

KINDS = {
    "http-async": "push",
    "directory": "push",
    "kinesis": "stream",
    "kinesis-lanes": "stream",
    "kafka": "stream",
    "sqs": "queue",
    "sqs-fifo": "queue",
    "rabbitmq": "queue",
}
ENDS = ("kill", "kill", "kill", "kill", "failpoint", "failpoint", "term")
FIRST_DELIVERY_SECONDS = 15.0
FAILPOINT_SECONDS = 3.0
PAUSE = 0.01


@dataclass(frozen=True)
class Plan:
    """What to run. The same seed draws the same faults; times differ."""

    source: str
    kills: int
    seed: int
    mutant: str | None = None
    ends: Sequence[str] = ENDS
    #: instead of those the source has
    troubles: Sequence[str] | None = None
    points: Sequence[str] | None = None
    handler_seconds: float = 0.01
    #: the last engine is done when nothing has moved for so long
    quiet_seconds: float = 20.0


@dataclass
class Report:
    """A run and its verdict, as one JSON line."""

    plan: Plan
    verdict: Verdict
    kills: int
    lives: Counter[str]
    troubles: Counter[str]
    seconds: float
    #: from the start of an engine to its first delivery, where it got there: median, longest
    first_delivery: tuple[float, float]

    def line(self) -> str:
        verdict = self.verdict
        return json.dumps(
            {
                "source": self.plan.source,
                "seed": self.plan.seed,
                "mutant": self.plan.mutant,
                "kills": self.kills,
                "lives": dict(self.lives),
                "troubles": dict(self.troubles),
                "records": verdict.records,
                "deliveries": verdict.delivered,
                "poison": verdict.poison,
                "lost": len(verdict.lost),
                "phantom": len(verdict.phantom),
                "out_of_order": len(verdict.out_of_order),
                "skipped": len(verdict.skipped),
                "duplicates": verdict.duplicates,
                "duplicates_bound": verdict.duplicates_bound,
                "duplicates_per_kill": round(verdict.duplicates / max(1, self.kills), 2),
                "most_deliveries": verdict.most_deliveries,
                "first_delivery_seconds": [round(value, 2) for value in self.first_delivery],
                "seconds": round(self.seconds, 1),
                "problems": verdict.problems,
            }
        )


def mappings(events: Mapping[str, Any], directory: Path, port: int) -> str:
    """The mappings file (JSON is YAML). Push sources fail at the function, pull ones at the
    mapping."""
    failed = {"directory": str(directory / "failed")}
    function: dict[str, Any] = {
        "handler": "handler.record",
        "timeout": 10,
        "env": {
            "EFFECTS": str(directory / "effects"),
            "FLAKES": str(directory / "flakes"),
            "BOOT": "${BOOT}",
            "SLEEP": "${SLEEP}",
        },
    }
    pulled = events and "s3" not in events
    if pulled:
        ((connector, settings),) = events.items()
        events = {connector: {**settings, "on_failure": failed}}
    else:
        function |= {"on_failure": failed, "max_retries": 1}
    if events:
        function["events"] = [events]
    return json.dumps(
        {
            "functions": {"record": function},
            "server": {"http": f"${{HTTP:-127.0.0.1:{port}}}"},
            "state": str(directory / "state"),
            "asynchronous": {"retry_delay": "50ms"},
        }
    )


@dataclass
class Run:
    """A run under way in `directory`, which is empty at first."""

    plan: Plan
    site: Site
    adapter: Adapter
    engine: Engine
    effects: Effects
    ledger: Ledger
    kills: int = 0
    lives: Counter[str] = field(default_factory=Counter)
    troubles: Counter[str] = field(default_factory=Counter)
    first: list[float] = field(default_factory=list)
    others: list[str] = field(default_factory=list)

    async def go(self) -> Verdict:
        """Produce and kill, then one engine without faults; the verdict."""
        producing = asyncio.ensure_future(self.produce())
        dice, plan = Random(self.plan.seed), self.plan
        points = plan.points or FAILPOINTS[KINDS[plan.source]]
        try:
            while self._faults() < plan.kills:
                if producing.done():
                    producing.result()
                await self._live(draw(dice, points, self._possible(), plan.ends))
        finally:
            producing.cancel()
            await asyncio.gather(producing, return_exceptions=True)
        return await self.finish()

    def _faults(self) -> int:
        return self.lives["term"] if set(self.plan.ends) == {"term"} else self.kills

    # producers

    async def produce(self) -> None:
        dice = Random(self.plan.seed + 1)
        while True:
            self.effects.look()
            waiting = len(self.ledger.acknowledged() - self.effects.seen)
            if waiting > self.adapter.backlog:
                await asyncio.sleep(0.05)
                continue
            ids = self.ledger.draw(dice.randint(1, 32))
            self.ledger.note(await self.adapter.produce(ids))
            await asyncio.sleep(PAUSE)

    # faults

    def _possible(self) -> Sequence[str]:
        if self.plan.troubles is not None:
            return self.plan.troubles
        possible = ["pause"]
        if self.site.proxy is not None:
            possible += ["cut", "drop"]
        if self.adapter.durable:
            possible += ["restart"]
        if hasattr(self.adapter, "reshard"):
            possible += ["reshard"]
        return possible

    async def _live(self, life: Life) -> None:
        """One engine from its start to its end."""
        self.engine.start(life.failpoint)
        if life.works or life.end == "failpoint" or life.trouble:
            await self._until_first_delivery()
        if life.trouble:
            self.troubles[life.trouble] += 1
            await self._trouble(life.trouble)
        if life.end == "failpoint":
            await self.until(lambda: not self.engine.running, FAILPOINT_SECONDS)
        else:
            await asyncio.sleep(life.seconds)
        await self._end(life)

    async def _until_first_delivery(self) -> None:
        begun, boot = time.monotonic(), self.engine.boot
        await self.until(
            lambda: (
                bool(self.effects.look() and boot in self.effects.boots) or not self.engine.running
            ),
            FIRST_DELIVERY_SECONDS,
        )
        if boot in self.effects.boots:
            self.first.append(time.monotonic() - begun)

    async def _end(self, life: Life) -> None:
        """SIGTERM must end it well; what ended by itself was a fail point."""
        if life.end == "term" and self.engine.running:
            code = await asyncio.to_thread(self.engine.end, signal.SIGTERM)
            self.lives["term"] += 1
            # one that is only just starting may not have its own way to stop yet
            works = self.engine.boot in self.effects.boots
            if code != 0 and (works or code != -signal.SIGTERM):
                self.others.append(f"SIGTERM ended boot {self.engine.boot} with {code}")
            if code == -signal.SIGKILL:
                self.kills += 1
            return
        fell = not self.engine.running
        code = await asyncio.to_thread(self.engine.end)
        if fell and not (life.end == "failpoint" and code == -signal.SIGKILL):
            self.others.append(f"boot {self.engine.boot} ended by itself with {code}")
        self.lives["failpoint" if fell else "kill"] += 1
        self.kills += 1

    async def _trouble(self, trouble: str) -> None:
        proxy, seconds = self.site.proxy, self.site.random.uniform(0.1, 1.5)
        if trouble == "pause":
            self.engine.send(signal.SIGSTOP)
            await asyncio.sleep(seconds / 2)
            self.engine.send(signal.SIGCONT)
        elif trouble == "reshard":
            await self.adapter.reshard()  # type: ignore[attr-defined]
        elif trouble == "restart":
            assert self.site.server is not None
            await asyncio.to_thread(self.site.server.kill)
            await asyncio.to_thread(self.site.server.start)
        elif proxy is not None:
            await asyncio.to_thread(proxy.cut if trouble == "cut" else proxy.drop_replies)
            await asyncio.sleep(seconds)
            await asyncio.to_thread(proxy.heal)

    async def until(self, look: Callable[[], bool], seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not look() and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.02)

    # the end

    def report(self, verdict: Verdict, seconds: float) -> Report:
        first = sorted(self.first) or [0.0]
        times = (first[len(first) // 2], first[-1])
        return Report(self.plan, verdict, self.kills, self.lives, self.troubles, seconds, times)

    async def finish(self) -> Verdict:
        """One more engine, left alone until everything came or nothing moves; the verdict."""
        await self._settle_down()
        return await asyncio.to_thread(self._judge)

    async def _settle_down(self) -> None:
        self.others += await asyncio.to_thread(self.engine.orphans)
        self.engine.start()
        moved, known = time.monotonic(), 0
        while time.monotonic() - moved < self.plan.quiet_seconds:
            if not self.engine.running:
                self.others.append("the last engine ended by itself")
                break
            count = await asyncio.to_thread(self._moved)
            if count != known:
                moved, known = time.monotonic(), count
            if self._is_complete():
                break
            await asyncio.sleep(0.2)
        await asyncio.sleep(0.5)
        code = await asyncio.to_thread(self.engine.end, signal.SIGTERM)
        if code != 0:
            self.others.append(f"the last engine ended with {code}")
        self.others += await asyncio.to_thread(self.engine.orphans)

    def _moved(self) -> int:
        return self.effects.look() + sum(1 for _ in self._failed.glob("*.json"))

    @property
    def _failed(self) -> Path:
        return self.site.directory / "failed"

    def _is_complete(self) -> bool:
        """Everything was seen, and of poison the record."""
        if self.ledger.acknowledged() - self.effects.seen:
            return False
        return not self._judge(quick=True).lost

    def _judge(self, *, quick: bool = False) -> Verdict:
        self.effects.look()
        names = [
            name for record in failure_records(self._failed) for name in self.adapter.failed(record)
        ]
        verdict = judge(
            self.ledger.answers, self.effects.lines, names, self.kills, self.adapter.rules
        )
        if not quick:
            verdict.others = self.others + state_problems(self.site.directory)
        return verdict


async def run(plan: Plan, directory: Path) -> Report:
    """Run it in `directory`, which is made anew; its files are what a failure leaves to look at.

    Raises Unavailable when the source's server cannot be had.
    """
    begun = time.monotonic()
    async with prepared(plan, directory) as work:
        verdict = await work.go()
    return work.report(verdict, time.monotonic() - begun)


@asynccontextmanager
async def prepared(plan: Plan, directory: Path) -> AsyncIterator[Run]:
    """A run with its server, source and files, cleared away afterwards but for the files."""
    shutil.rmtree(directory, ignore_errors=True)
    (directory / "flakes").mkdir(parents=True)
    shutil.copy(Path(__file__).parent / "handler.py", directory / "handler.py")
    build = ADAPTERS[plan.source]
    async with AsyncExitStack() as parts:
        server = proxy = None
        if build.server is not None:
            proxy = parts.enter_context(FaultProxy())
            server = parts.enter_context(private_server(build.server, advertised=proxy.port))
            proxy.forward_to(server.port)
        site = Site(directory, free_port(), Random(plan.seed + 2), server, proxy)
        adapter = build(site)
        parts.push_async_callback(adapter.close)
        events = await adapter.reset()
        (directory / "mappings.yaml").write_text(mappings(events, directory, site.port))
        engine = Engine(directory, environment(plan), plan.mutant)
        parts.push_async_callback(asyncio.to_thread, engine.kill)
        ledger = Ledger(adapter.units, Random(plan.seed + 3))
        yield Run(plan, site, adapter, engine, Effects(directory / "effects"), ledger)


def environment(plan: Plan) -> dict[str, str]:
    """What engines get besides the harness's own."""
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    return {"SLEEP": str(plan.handler_seconds), "AWS_REGION": "us-east-1", **keys}
