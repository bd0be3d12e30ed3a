"""Chooses which step runs next. Pure: no trio, no torch, no clock; the engine passes events and the time.

A job is one utterance. A playout is a sequence of jobs that one listener hears: the jobs of a session one
after the other, or a single job if the requests of a session are heard at the same time. A session is the
unit of fairness: a connection, or the HTTP requests of one API key.

A job waits for one of `max_active` slots, gets its lines from the text side, sentence by sentence, and
alternates between a prosody step for the next line and vocode steps for its windows. It holds its slot
only while it needs steps: not when all its audio is made, nor while it is ahead of its consumer.

A free slot goes to the session with the fewest slots; among equals, to the one that has waited longest
with that number. The last free slot does not go to a playout that already holds one.

The order of steps, most urgent first:

1. the playout whose next audio is due soonest. Audio is due when the playout runs dry; for a playout
   that has not begun, `NEWCOMER_LEAD_S` before its job became ready. The due time does not change while the
   playout waits, so later arrivals cannot starve it.
2. jobs behind the current job of their playout, in the order of arrival;
3. playouts that still have `max_ahead_s` to play, even if their client has taken all of it.

A newcomer's step may also interrupt a less urgent vocode step.

A job that is `max_ahead_s` ahead of its consumer gets no step. The jobs behind the first of a playout get
none when together they are `max_ahead_s` ahead. This bounds memory and wasted work.
"""

import math
from collections import OrderedDict, deque
from collections.abc import Hashable, Iterable, Sequence
from enum import Enum
from itertools import takewhile

from attrs import define, field, frozen

from kokoro_trio.model.batching import token_bucket
from kokoro_trio.speech import Line, Window, Windows

N_PADDING_TOKENS = 2
NEWCOMER_LEAD_S = 0.5
"""A newcomer goes before playouts that have been dry for less than this. With 0, newcomers wait twice as long
on a CPU with three times the load that it can carry."""
INTERRUPTION_S = 0.4
"""About the time of a newcomer's first audio on a CPU. A step is not interrupted if its playout would run dry
in this time. Without this rule, two listeners on a CPU of 2.9 times real time heard twice the silence."""


class StepKind(Enum):
    PROSODY = "prosody"
    VOCODE = "vocode"


@define(eq=False)
class Job:
    """One utterance in the scheduler. Only the scheduler writes to it."""

    session: Hashable
    number: int
    _share: "_Session" = field(repr=False)
    _playout: "_Playout" = field(repr=False)
    active: bool = False
    in_step: bool = False
    is_ended: bool = False
    """No more lines will come."""
    is_abandoned: bool = False
    """It gets no more steps, and the result of a step in flight is dropped."""
    lines: deque[Line] = field(factory=deque)
    windows: deque[Windows] = field(factory=deque)
    """The rest of each segment that has prosody."""
    made_s: float = 0.0
    taken_s: float = 0.0
    ready_at: float | None = None
    """When the scheduler first found a step for it."""

    @property
    def next_kind(self) -> StepKind | None:
        if self.windows:
            return StepKind.VOCODE
        return StepKind.PROSODY if self.lines else None

    @property
    def is_made(self) -> bool:
        """All its audio exists; the consumer may not have taken it yet."""
        return self.is_ended and not self.lines and not self.windows and not self.in_step

    @property
    def ahead_s(self) -> float:
        return self.made_s - self.taken_s


@frozen
class Step:
    """One line for each job (prosody), or one window for each job (vocode)."""

    kind: StepKind
    jobs: tuple[Job, ...]
    lines: tuple[Line, ...] = ()
    windows: tuple[Window, ...] = ()

    def singly(self) -> "list[Step]":
        """The same work as steps of one job each."""
        return [
            Step(self.kind, (job,), self.lines[n : n + 1], self.windows[n : n + 1])
            for n, job in enumerate(self.jobs)
        ]


@frozen
class SchedulerStatistics:
    sessions: int
    active: int
    waiting: int
    in_step: int


@define(eq=False)
class _Session:
    waiting: OrderedDict[Job, None] = field(factory=OrderedDict)
    """In the order of arrival."""
    n_jobs: int = 0
    n_slots: int = 0
    queue: int | None = None
    """The key of the queue in which it waits for a slot; None: it may not get one."""


@define(eq=False)
class _Playout:
    key: tuple[Hashable, Hashable]
    jobs: OrderedDict[Job, None] = field(factory=OrderedDict)
    """In the order in which they are heard."""
    behind: OrderedDict[Job, None] = field(factory=OrderedDict)
    """The jobs behind the current one. Their audio cannot be heard before the current job is made."""
    current: Job | None = None
    """The job that is being made; the last one when all are made."""
    begun: dict[Job, None] = field(factory=dict)
    """The jobs that were given a slot and are not made."""
    dry_at: float = -math.inf
    """When the listener has heard all audio made so far, up to and including the current job."""
    ahead_s: float = 0.0
    """The audio of all its jobs that is made and not taken."""

    @property
    def first(self) -> Job:
        return next(iter(self.jobs))

    def is_silent(self, now: float) -> bool:
        """The current job has no audio yet, and the audio before it is over."""
        return self.dry_at <= now and (self.current is None or self.current.made_s == 0)

    def extend(self, seconds: float, now: float) -> None:
        self.dry_at = max(self.dry_at, now) + seconds

    def catch_up(self, now: float) -> None:
        """Advances to the next job if the current one is made or was removed."""
        while self.behind and (self.current is None or self.current.is_made):
            self.current, _ = self.behind.popitem(last=False)
            if self.current.made_s:
                self.extend(self.current.made_s, now)

    def remove(self, job: Job, now: float) -> None:
        self.catch_up(now)
        del self.jobs[job]
        self.behind.pop(job, None)
        self.begun.pop(job, None)
        self.ahead_s -= job.ahead_s
        if self.current is job:
            self.current = None

    def drop(self, job: Job, now: float) -> None:
        """Removes a job that was canceled.

        If it was the first, the client has dropped all audio that it had not played.
        """
        self.catch_up(now)
        is_first, is_behind = job is self.first, job in self.behind
        self.remove(job, now)
        if is_first:
            self.dry_at = -math.inf
            for other in takewhile(lambda other: other not in self.behind, self.jobs):
                self.extend(other.made_s, now)
        elif not is_behind:
            self.dry_at -= min(job.made_s, max(0.0, self.dry_at - now))
        self.catch_up(now)


class Scheduler:
    def __init__(
        self, *, max_active: int, queue_maxsize: int, max_batch: int = 1, max_ahead_s: float = 8.0
    ) -> None:
        self.max_batch = max_batch
        self._max_active = max_active
        self._queue_maxsize = queue_maxsize
        self._max_ahead_s = max_ahead_s
        self._sessions: dict[Hashable, _Session] = {}
        self._playouts: dict[tuple[Hashable, Hashable], _Playout] = {}
        self._queues: dict[int, OrderedDict[_Session, None]] = {}
        """By the number of slots that they hold, the sessions that may get one more; no queue is empty."""
        self._n_waiting = 0
        self._active: set[Job] = set()
        self._holding: set[Job] = set()
        """The active jobs that hold a slot."""
        self._admitted: list[Job] = []
        self._n_added = 0

    # Admission.

    def add(self, session: Hashable, playout: Hashable = None) -> Job:
        """A new job of `session`, which waits for a slot or is given one at once (`pop_admitted`).

        Jobs of a session with different `playout` are heard at the same time.
        """
        share = self._sessions.setdefault(session, _Session())
        key = (session, playout)
        its_playout = self._playouts.setdefault(key, _Playout(key))
        job = Job(session, self._n_added, share, its_playout)
        self._n_added += 1
        share.n_jobs += 1
        share.waiting[job] = None
        self._n_waiting += 1
        its_playout.jobs[job] = its_playout.behind[job] = None
        self._requeue(share)
        self._fill_slots()
        return job

    def remove(self, job: Job, now: float) -> None:
        """Forgets a job whose audio was taken and will be heard."""
        job._playout.remove(job, now)
        self._forget(job)

    def cancel(self, job: Job, now: float) -> None:
        """Forgets a job in any state; its listener hears no more of it."""
        job._playout.drop(job, now)
        self._forget(job)

    def _forget(self, job: Job) -> None:
        self._active.discard(job)
        self._hold(job, False)
        if job in job._share.waiting:
            del job._share.waiting[job]
            self._n_waiting -= 1
        job._share.n_jobs -= 1
        if not job._share.n_jobs:
            del self._sessions[job.session]
        if not job._playout.jobs:
            del self._playouts[job._playout.key]
        job.active = False
        job.is_abandoned = True
        self._settle(job)

    def pop_admitted(self) -> list[Job]:
        """The jobs that were given a slot since the last call."""
        admitted, self._admitted = self._admitted, []
        return [job for job in admitted if job.active]

    @property
    def is_full(self) -> bool:
        return self._n_waiting >= self._queue_maxsize

    def _is_ahead(self, job: Job) -> bool:
        if job.ahead_s >= self._max_ahead_s:
            return True
        playout = job._playout
        return job is not playout.first and playout.ahead_s - playout.first.ahead_s >= self._max_ahead_s

    def _settle(self, job: Job) -> None:
        """Updates which jobs hold slots, and fills the free slots. Call it after every change to `job`."""
        for other in list(job._playout.begun):
            if other.is_made:
                del job._playout.begun[other]
            self._hold(other, not other.is_made and not self._is_ahead(other))
        self._requeue(job._share)
        self._fill_slots()

    def _hold(self, job: Job, holds: bool) -> None:
        if holds == (job in self._holding):
            return
        if holds:
            self._holding.add(job)
        else:
            self._holding.remove(job)
        job._share.n_slots += 1 if holds else -1
        self._requeue(job._share)

    def _requeue(self, session: _Session) -> None:
        """If a session now belongs in another queue, moves it to the end of that queue."""
        is_eligible = session.waiting and not self._is_ahead(next(iter(session.waiting)))
        queue = session.n_slots if is_eligible else None
        if queue == session.queue:
            return
        if session.queue is not None:
            del self._queues[session.queue][session]
            if not self._queues[session.queue]:
                del self._queues[session.queue]
        if queue is not None:
            self._queues.setdefault(queue, OrderedDict())[session] = None
        session.queue = queue

    def _fill_slots(self) -> None:
        while self._queues and (n_free := self._max_active - len(self._holding)) > 0:
            n_slots = min(self._queues)
            session = next(iter(self._queues[n_slots]))
            # The last free slot is for newcomers: otherwise they could wait for a whole utterance of a
            # listener with many requests.
            is_for_newcomer = n_slots == 0 or not next(iter(session.waiting))._playout.begun
            if n_free == 1 < self._max_active and not is_for_newcomer:
                return
            self._admit(session)

    def _admit(self, session: _Session) -> None:
        job, _ = session.waiting.popitem(last=False)
        self._n_waiting -= 1
        job.active = True
        self._active.add(job)
        self._admitted.append(job)
        job._playout.begun[job] = None
        self._hold(job, True)

    # Text.

    def add_lines(self, job: Job, lines: Iterable[Line]) -> None:
        if not job.is_abandoned:
            job.lines.extend(lines)

    def add_silence(self, job: Job, seconds: float) -> None:
        """Counts a pause, which takes no step but is part of the playout."""
        self._count_made(job, seconds, job._playout.dry_at)
        self._settle(job)

    def end_lines(self, job: Job) -> None:
        job.is_ended = True
        self._settle(job)

    def abandon(self, job: Job) -> None:
        """Drops the rest of this job."""
        job.is_abandoned = True
        job.lines.clear()
        job.windows.clear()
        self.end_lines(job)

    # Steps.

    def next_step(self, now: float) -> Step | None:
        """The most urgent step, batched with others of its shape up to `max_batch`."""
        ready = self._ready_jobs(now)
        return self._step_of(ready, now) if ready else None

    def next_interruption(self, step: Step, now: float) -> Step | None:
        """A newcomer's step that is more urgent than `step`, to run in the middle of it."""
        newcomers = [job for job in self._ready_jobs(now) if job._playout.is_silent(now)]
        interrupted = [job for job in step.jobs if job.active]
        if not newcomers or any(0 <= job._playout.dry_at - now < INTERRUPTION_S for job in interrupted):
            return None
        urgency = self._urgency(newcomers[0], now)
        is_urgent = all(urgency < self._urgency(job, now) for job in interrupted)
        return self._step_of(newcomers, now) if is_urgent else None

    def _ready_jobs(self, now: float) -> list[Job]:
        """The most urgent first."""
        ready = [job for job in self._holding if self._is_ready(job, now)]
        for job in ready:
            if job.ready_at is None:
                job.ready_at = now
        return sorted(ready, key=lambda job: self._urgency(job, now))

    def _step_of(self, ready: Sequence[Job], now: float) -> Step:
        """A step for the first of the jobs, batched with others of its shape."""
        # Each playout gets a turn before the one that is served first runs dry.
        n_playouts = len({job._playout.key for job in self._holding})
        n_turns = math.ceil(n_playouts / self.max_batch)
        within_s = [max(0.0, job._playout.dry_at - now) / n_turns for job in ready]
        shapes = list(map(_shape, ready, within_s))
        batch = [n for n, shape in enumerate(shapes) if shape == shapes[0]][: self.max_batch]
        return _take([ready[n] for n in batch], [within_s[n] for n in batch])

    def complete_prosody(self, step: Step, windows: Sequence[Windows]) -> None:
        for job, its_windows in zip(step.jobs, windows, strict=True):
            job.in_step = False
            if not job.is_abandoned:
                job.windows.append(its_windows)
            self._settle(job)

    def complete_failed(self, step: Step) -> None:
        """Abandons the jobs of a step that failed."""
        for job in step.jobs:
            job.in_step = False
            self.abandon(job)

    def complete_vocode(self, step: Step, now: float) -> None:
        for job, window in zip(step.jobs, step.windows, strict=True):
            job.in_step = False
            if not job.is_abandoned:
                job._playout.catch_up(now)
                self._count_made(job, window.seconds, now)
            self._settle(job)

    def _count_made(self, job: Job, seconds: float, now: float) -> None:
        job.made_s += seconds
        job._playout.ahead_s += seconds
        if job not in job._playout.behind:
            job._playout.extend(seconds, now)

    def taken(self, job: Job, seconds: float) -> None:
        """The consumer took `seconds` of the job's audio."""
        job.taken_s += seconds
        job._playout.ahead_s -= seconds
        self._settle(job)

    def statistics(self) -> SchedulerStatistics:
        return SchedulerStatistics(
            sessions=len(self._sessions),
            active=len(self._active),
            waiting=self._n_waiting,
            in_step=sum(job.in_step for job in self._active),
        )

    def slacks_s(self, now: float) -> tuple[float, ...]:
        """For each playout that has begun and needs more audio, the seconds until it runs dry.

        Playouts of slow clients, which have `max_ahead_s` of audio to take, are left out.
        """
        return tuple(
            playout.dry_at - now for playout in self._playouts.values() if self._waits_for_more(playout, now)
        )

    def _waits_for_more(self, playout: _Playout, now: float) -> bool:
        playout.catch_up(now)
        job = playout.current
        if job is None or job.is_made or self._is_ahead(job):
            return False
        return not playout.is_silent(now)

    def _is_ready(self, job: Job, now: float) -> bool:
        if job.next_kind is None or job.in_step:
            return False
        playout = job._playout
        playout.catch_up(now)
        # While the current job waits for its text, a step of a later job would only delay it.
        return job is playout.current or not playout.is_silent(now)

    def _urgency(self, job: Job, now: float) -> tuple[float, ...]:
        playout = job._playout
        if job is not playout.current:
            return (1, job.number)
        assert job.ready_at is not None
        lead_s = NEWCOMER_LEAD_S if playout.is_silent(now) else 0.0
        due_at = max(playout.dry_at, job.ready_at) - lead_s
        has_enough = playout.dry_at - now >= self._max_ahead_s and job is playout.first
        # A newcomer that has windows gets its first audio before the next newcomer begins.
        return (2 if has_enough else 0, due_at, 0 if job.windows else 1, job.number)


def _shape(job: Job, within_s: float) -> tuple[StepKind, int | Job]:
    """Windows of one shape share a batch, as do lines of about one length. Whole segments do not."""
    if job.windows:
        return (StepKind.VOCODE, job.windows[0].next(within_s).shape_frames or job)
    return (StepKind.PROSODY, token_bucket(len(job.lines[0].phonemes) + N_PADDING_TOKENS))


def _take(jobs: Sequence[Job], within_s: Sequence[float]) -> Step:
    """`within_s`: of each job, how long its next window may take."""
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
