"""One expression at work: what it has decided, what waits to be stored, when it rings next."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

from eventmesh.connectors import SourceContext

from .due import FiringRules, Spread, decide, next_moment
from .events import EventWriter, read_instant, rule_arn, write_instant
from .expression import RateExpression
from .options import ScheduleOptions

#: a stored time further ahead than this came from a wrong clock, not from one set back a little
_BELIEVABLE = timedelta(days=1)


class ScheduleAlarm:
    """Decides at every ring which slots fire, and keeps them until they are taken to be stored.

    The time up to which slots are decided only moves forward, so no slot fires twice: not after a
    restart (the stored position tells), nor when the clock is set back.
    """

    __slots__ = (
        "_changes",
        "_context",
        "_failure",
        "_notify",
        "_pending",
        "_rules",
        "_writer",
        "keys",
        "last_fire",
        "moment",
        "text",
    )

    def __init__(
        self,
        text: str,
        options: ScheduleOptions,
        context: SourceContext,
        positions: Mapping[str, str],
        notify: Callable[[], None],
    ) -> None:
        self.text = text
        self.keys = (f"last_fire:{text}", f"anchor:{text}")
        self._context = context
        self._notify = notify
        self._failure: Exception | None = None
        self._pending: list[datetime] = []
        self._changes: dict[str, str | None] = {}
        self._writer = _writer(text, options, context)
        now = self._now()
        stored = {key: self._read(positions, key, now) for key in self.keys}
        anchor = stored[self.keys[1]] or now.replace(microsecond=0)
        self._rules = _rules(text, options, context, anchor)
        self._remember_anchor(anchor, positions)
        self.last_fire = stored[self.keys[0]] or self._begin(now)
        #: when to ring next, None for never again
        self.moment = next_moment(self._rules, self.last_fire)
        self._decide(now, starting=True)

    def ring(self) -> None:
        """Decide what is due now. Never waits, never raises: `take` raises what went wrong here."""
        try:
            self._decide(self._now(), starting=False)
        except Exception as error:
            self._failure, self.moment = error, None
            self._notify()

    def take(self) -> tuple[list[bytes], dict[str, str | None]]:
        """The events that wait to be stored and the positions to store with them; both empty when
        nothing changed. They are the caller's from now on."""
        if self._failure is not None:
            raise self._failure
        events = [self._writer.write(slot) for slot in self._pending]
        changes, self._changes, self._pending = self._changes, {}, []
        return events, changes

    def _decide(self, now: datetime, *, starting: bool) -> None:
        if self.moment is None or self.moment > now:
            return
        decision = decide(self._rules, self.last_fire, now, starting=starting)
        if decision.decided_until == self.last_fire:
            return
        self.last_fire = decision.decided_until
        self.moment = next_moment(self._rules, self.last_fire)
        self._changes[self.keys[0]] = write_instant(self.last_fire)
        self._pending += decision.fire
        self._tell(decision.passed_over, len(decision.fire), starting=starting)
        self._bound_pending()
        self._notify()

    def _tell(self, passed_over: int | None, fired: int, *, starting: bool) -> None:
        if passed_over == 0 and not starting:
            return
        policy = self._rules.missed_runs
        skipped = "many" if passed_over is None else str(passed_over)
        cut = policy == "all" and passed_over != 0
        log = self._context.log.warning if cut else self._context.log.info
        log(
            "%s: missed fire times of %s: %d made up for, %s passed over (missed_runs: %s%s)",
            self._context.mapping,
            self.text,
            fired,
            skipped,
            policy,
            f", maximum_missed_runs: {self._rules.maximum_missed_runs}" if cut else "",
        )

    def _bound_pending(self) -> None:
        """While the store takes nothing, slots pile up here; keep the newest of them."""
        surplus = len(self._pending) - max(100, self._rules.maximum_missed_runs)
        if surplus > 0:
            del self._pending[:surplus]
            self._context.log.warning(
                "%s: nothing could be stored for so long that %d fire times of %s are given up",
                self._context.mapping,
                surplus,
                self.text,
            )

    def _begin(self, now: datetime) -> datetime:
        """The very first start: nothing was missed before it."""
        begun = now.replace(microsecond=0)
        self._changes[self.keys[0]] = write_instant(begun)
        if self._rules.timetable.next_after(begun) is None:
            self._context.log.warning(
                "%s: %s lies in the past and never fires; give a later time",
                self._context.mapping,
                self.text,
            )
        return begun

    def _remember_anchor(self, anchor: datetime, positions: Mapping[str, str]) -> None:
        is_rate = isinstance(self._rules.timetable.expression, RateExpression)
        written = write_instant(anchor)
        if is_rate and positions.get(self.keys[1]) != written:
            self._changes[self.keys[1]] = written

    def _read(self, positions: Mapping[str, str], key: str, now: datetime) -> datetime | None:
        """The stored time under `key`; None when there is none to be believed."""
        text = positions.get(key)
        if text is None:
            return None
        try:
            instant = read_instant(text)
        except ValueError:
            instant = None
        if instant is not None and instant - now <= _BELIEVABLE:
            return instant
        self._context.log.warning(
            "%s: the stored %s is %r, which the clock (%s) contradicts; starting anew from now",
            self._context.mapping,
            key,
            text,
            write_instant(now),
        )
        return None

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._context.clock.now(), UTC)


def _writer(text: str, options: ScheduleOptions, context: SourceContext) -> EventWriter:
    arn = rule_arn(
        region=context.region,
        account_id=context.account_id,
        function=context.function_name,
        mapping=context.mapping,
        expression=text,
    )
    return EventWriter(
        arn,
        region=context.region,
        account_id=context.account_id,
        input_json=options.input_json,
    )


def _rules(
    text: str, options: ScheduleOptions, context: SourceContext, anchor: datetime
) -> FiringRules:
    return FiringRules(
        timetable=options.timetable(text, anchor),
        spread=Spread(
            timedelta(seconds=options.flexible_time_window), f"{context.mapping} {text}".encode()
        ),
        missed_runs=options.missed_runs,
        maximum_missed_runs=options.maximum_missed_runs,
    )
