"""Which step runs next. Pure: no trio, no torch, no clock; the engine hands in events and the time.

A job is one utterance. It waits for one of `max_active` slots, gets its lines (segments) from the
text side as they are known, and alternates between a prosody step for the next line and vocode steps
for its windows. It holds its slot while there is work to do on it: not when all its audio is made, nor
while it is ahead of its consumer. The order of steps, most urgent first:

1. a listener who hears nothing yet, nearest to its first audio first, then round-robin over sessions;
2. the listener who runs dry soonest: seconds made minus seconds since the first audio;
3. what a session has asked for beyond the utterance it is speaking, in the order of asking;
4. more for a listener who has `max_ahead_s` to hear still, however fast the client takes it.

A job that is `max_ahead_s` ahead of what its consumer has taken gets no step, nor do those behind the
first of a session where they are so all together: bounded memory, bounded waste.
"""

import math
from collections import deque
from collections.abc import Hashable, Iterable, Sequence
from enum import Enum

from attrs import define, field, frozen

from kokoro_trio.model.batching import token_bucket
from kokoro_trio.speech import Line, Window, Windows

N_PADDING_TOKENS = 2


class StepKind(Enum):
    PROSODY = "prosody"
    VOCODE = "vocode"


@define(eq=False)
class Job:
    """One utterance in the scheduler. Only the scheduler writes to it."""

    session: Hashable
    number: int
    active: bool = False
    in_step: bool = False
    is_ended: bool = False
    """No more lines will come."""
    is_abandoned: bool = False
    """Nothing more is to be made, whatever a step in flight still brings."""
    lines: deque[Line] = field(factory=deque)
    windows: deque[Windows] = field(factory=deque)
    """What is to be vocoded: of each segment whose prosody is made, the rest."""
    made_s: float = 0.0
    taken_s: float = 0.0

    @property
    def next_kind(self) -> StepKind | None:
        if self.windows:
            return StepKind.VOCODE
        return StepKind.PROSODY if self.lines else None

    @property
    def is_made(self) -> bool:
        """All its audio exists, though the consumer may not have taken it yet."""
        return self.is_ended and not self.lines and not self.windows and not self.in_step


@frozen
class Step:
    """Lines for the prosody half, or windows for the vocoder half: one for each job."""

    kind: StepKind
    jobs: tuple[Job, ...]
    lines: tuple[Line, ...] = ()
    windows: tuple[Window, ...] = ()

    def singly(self) -> "list[Step]":
        """The same work as steps of one job each."""
        if self.kind is StepKind.PROSODY:
            pairs = zip(self.jobs, self.lines, strict=True)
            return [Step(self.kind, (job,), lines=(line,)) for job, line in pairs]
        return [
            Step(self.kind, (job,), windows=(window,))
            for job, window in zip(self.jobs, self.windows, strict=True)
        ]


@frozen
class SchedulerStatistics:
    sessions: int
    active: int
    waiting: int
    in_step: int


@define
class _Listener:
    """What one session hears: its utterances are spoken one after the other."""

    jobs: list[Job] = field(factory=list)
    started_at: float | None = None
    made_s: float = 0.0
    ahead_s: float = 0.0
    """Made of all its utterances, and not taken."""
    last_served: int = -1

    def slack_s(self, now: float) -> float:
        """Seconds until this listener runs dry; 0 or less: silence."""
        return 0.0 if self.started_at is None else self.made_s - (now - self.started_at)

    def hears_nothing(self, job: Job, now: float) -> bool:
        """`job`, which is the one to be heard next, has not begun, and what was before it is over."""
        return job.made_s == 0 and self.slack_s(now) <= 0

    def hear(self, seconds: float, now: float) -> None:
        if self.started_at is None or self.slack_s(now) < 0:
            self.started_at, self.made_s = now, 0.0
        self.made_s += seconds

    @property
    def first_unmade(self) -> Job | None:
        return next((job for job in self.jobs if not job.is_made), None)


class Scheduler:
    def __init__(
        self, *, max_active: int, queue_maxsize: int, max_batch: int = 1, max_ahead_s: float = 8.0
    ) -> None:
        self.max_batch = max_batch
        self._max_active = max_active
        self._queue_maxsize = queue_maxsize
        self._max_ahead_s = max_ahead_s
        self._listeners: dict[Hashable, _Listener] = {}
        self._waiting: list[Job] = []
        self._active: list[Job] = []
        self._admitted: list[Job] = []
        self._n_added = 0
        self._n_served = 0

    # Admission.

    def add(self, session: Hashable) -> Job:
        """A new job of `session`, waiting for a slot or given one at once (`pop_admitted`)."""
        job = Job(session, self._n_added)
        self._n_added += 1
        self._listeners.setdefault(session, _Listener()).jobs.append(job)
        self._waiting.append(job)
        self._fill_slots()
        return job

    def remove(self, job: Job) -> None:
        """Forgets a job, whatever state it is in."""
        listener = self._listeners[job.session]
        listener.jobs.remove(job)
        listener.ahead_s -= job.made_s - job.taken_s
        if not listener.jobs:
            del self._listeners[job.session]
        (self._active if job.active else self._waiting).remove(job)
        job.active = False
        job.is_abandoned = True
        self._fill_slots()

    def pop_admitted(self) -> list[Job]:
        """The jobs that were given a slot since this was last asked."""
        admitted, self._admitted = self._admitted, []
        return [job for job in admitted if job.active]

    @property
    def is_full(self) -> bool:
        return len(self._waiting) >= self._queue_maxsize

    def has_room(self, session: Hashable) -> bool:
        """False where one more job of this session would wait beyond `queue_maxsize`.

        A session with nothing waiting always has room, so no session can shut another out.
        """
        if not self.is_full:
            return True
        return all(job.session != session for job in self._waiting)

    def _is_ahead(self, job: Job) -> bool:
        if job.made_s - job.taken_s >= self._max_ahead_s:
            return True
        listener = self._listeners[job.session]
        first = listener.jobs[0]
        behind_first_s = listener.ahead_s - (first.made_s - first.taken_s)
        return job is not first and behind_first_s >= self._max_ahead_s

    def _holds_slot(self, job: Job) -> bool:
        return job.active and not job.is_made and not self._is_ahead(job)

    def _n_slots_held(self, jobs: Iterable[Job]) -> int:
        return sum(self._holds_slot(job) for job in jobs)

    def _fill_slots(self) -> None:
        while (job := self._next_admitted()) is not None:
            self._waiting.remove(job)
            self._active.append(job)
            job.active = True
            self._admitted.append(job)

    def _next_admitted(self) -> Job | None:
        n_free = self._max_active - self._n_slots_held(self._active)
        if n_free < 1 or not self._waiting:
            return None
        # Of each session its first: the rest of a thousand requests need not be looked at.
        firsts: dict[Hashable, Job] = {}
        for waiting in self._waiting:
            firsts.setdefault(waiting.session, waiting)
        eligible = [first for first in firsts.values() if not self._is_ahead(first)]
        if not eligible:
            return None
        job = min(eligible, key=self._admission_order)
        # The last free slot is kept for a session that has none: one listener with many requests
        # must not make a newcomer wait for a whole utterance.
        is_kept = n_free == 1 < self._max_active and self._n_slots_held(self._listeners[job.session].jobs)
        return None if is_kept else job

    def _admission_order(self, job: Job) -> tuple[int, int, int]:
        listener = self._listeners[job.session]
        return (self._n_slots_held(listener.jobs), listener.last_served, job.number)

    # What the text side adds.

    def add_lines(self, job: Job, lines: Iterable[Line]) -> None:
        if not job.is_abandoned:
            job.lines.extend(lines)

    def add_silence(self, job: Job, seconds: float) -> None:
        """So much of what is delivered for a job was no work, but is heard as well."""
        job.made_s += seconds
        if job.active:
            self._listeners[job.session].made_s += seconds
            self._listeners[job.session].ahead_s += seconds

    def end_lines(self, job: Job) -> None:
        job.is_ended = True
        self._fill_slots()

    def abandon(self, job: Job) -> None:
        """Nothing more is to be made of this job."""
        job.is_abandoned = True
        job.lines.clear()
        job.windows.clear()
        self.end_lines(job)

    # Steps.

    def next_step(self, now: float) -> Step | None:
        """The most urgent step, with others of its shape beside it up to `max_batch`."""
        ready = sorted(
            (job for job in self._active if self._is_ready(job)), key=lambda job: self._urgency(job, now)
        )
        if not ready:
            return None
        # Each listener has a turn before the one who is served first runs dry.
        n_turns = math.ceil(max(1, self._n_slots_held(self._active)) / self.max_batch)
        within_s = [max(0.0, self._listeners[job.session].slack_s(now)) / n_turns for job in ready]
        shapes = list(map(_shape, ready, within_s))
        batch = [n for n, shape in enumerate(shapes) if shape == shapes[0]][: self.max_batch]
        jobs = [ready[n] for n in batch]
        step = _taken(jobs, [within_s[n] for n in batch])
        for job in jobs:
            self._listeners[job.session].last_served = self._n_served
        self._n_served += 1
        return step

    def complete_prosody(self, step: Step, windows: Sequence[Windows]) -> None:
        for job, its_windows in zip(step.jobs, windows, strict=True):
            job.in_step = False
            if not job.is_abandoned:
                job.windows.append(its_windows)

    def complete_failed(self, step: Step) -> None:
        """The step brought nothing: its jobs are abandoned."""
        for job in step.jobs:
            job.in_step = False
            self.abandon(job)

    def complete_vocode(self, step: Step, now: float) -> None:
        for job, window in zip(step.jobs, step.windows, strict=True):
            job.in_step = False
            job.made_s += window.seconds
            if job.active:
                self._listeners[job.session].hear(window.seconds, now)
                self._listeners[job.session].ahead_s += window.seconds
        self._fill_slots()

    def taken(self, job: Job, seconds: float) -> None:
        """The consumer took this much of the job's audio."""
        job.taken_s += seconds
        if job.active:
            self._listeners[job.session].ahead_s -= seconds
            self._fill_slots()

    def statistics(self) -> SchedulerStatistics:
        return SchedulerStatistics(
            sessions=len(self._listeners),
            active=len(self._active),
            waiting=len(self._waiting),
            in_step=sum(job.in_step for job in self._active),
        )

    def slacks_s(self, now: float) -> tuple[float, ...]:
        """Seconds until each listener runs dry who hears something and for whom more is to be made.

        Not those who are behind by themselves: what they have not taken lasts for `max_ahead_s`.
        """
        waiting_for = ((listener, listener.first_unmade) for listener in self._listeners.values())
        return tuple(
            listener.slack_s(now)
            for listener, job in waiting_for
            if job is not None and not self._is_ahead(job) and not listener.hears_nothing(job, now)
        )

    def _is_ready(self, job: Job) -> bool:
        return job.next_kind is not None and not job.in_step and not self._is_ahead(job)

    def _urgency(self, job: Job, now: float) -> tuple[float, ...]:
        listener = self._listeners[job.session]
        if job is not listener.first_unmade:
            return (2, job.number)
        if listener.hears_nothing(job, now):
            return (0, 0 if job.windows else 1, listener.last_served, job.number)
        slack_s = listener.slack_s(now)
        has_enough = slack_s >= self._max_ahead_s and job is listener.jobs[0]
        return (3 if has_enough else 1, slack_s, job.number)


def _shape(job: Job, within_s: float) -> tuple[StepKind, int | Job]:
    """Windows of one shape stack into one batch, and lines of about one length. Whole segments do not."""
    if job.windows:
        return (StepKind.VOCODE, job.windows[0].next(within_s).shape_frames or job)
    return (StepKind.PROSODY, token_bucket(len(job.lines[0].phonemes) + N_PADDING_TOKENS))


def _taken(jobs: Sequence[Job], within_s: Sequence[float]) -> Step:
    """`within_s`: for each job, how long its next window may take."""
    for job in jobs:
        job.in_step = True
    if jobs[0].next_kind is StepKind.PROSODY:
        return Step(StepKind.PROSODY, tuple(jobs), lines=tuple(job.lines.popleft() for job in jobs))
    return Step(StepKind.VOCODE, tuple(jobs), windows=tuple(map(_cut, jobs, within_s)))


def _cut(job: Job, within_s: float) -> Window:
    window = job.windows[0].take(within_s)
    if job.windows[0].is_over:
        job.windows.popleft()
    return window
