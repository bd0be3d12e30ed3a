"""Pure: 200 sessions request twice the audio that an engine can make, for minutes of simulated time."""

from collections import defaultdict, deque
from collections.abc import Hashable
from random import Random

import numpy as np
import pytest
from attrs import define, field

from kokoro_trio.engine.scheduler import Job, Scheduler, SchedulerStatistics, Step, StepKind
from kokoro_trio.model.synthesizer import EqualWindows
from kokoro_trio.speech import Line, Prosody, Windows

MAX_ACTIVE, MAX_BATCH = 32, 16
AUDIO_S_PER_S = 110
"""The engine's speed; 220 requests are heard at the same time."""
STEP_S = 0.005
"""The fixed cost of a step."""
SIMULATED_S = 120.0
WINDOWS_S = (0.6, 1.2, 2.0)
N_PLAIN, N_TAGGED, N_KEYS, N_POSTERS = 120, 20, 6, 10
"""WebSockets of both framings, API keys, and HTTP clients with each: 200 in all."""
N_REQUESTS = {"plain": 3, "tagged": 2, "key": N_POSTERS}
"""Outstanding in a session of each kind at any time."""
N_SESSIONS = N_PLAIN + N_TAGGED + N_KEYS


def windows(line: Line, rng: Random) -> Windows:
    """One to three windows of equal length."""
    frames = round(rng.choice(WINDOWS_S) * 40)
    n_frames = np.array([frames * rng.randint(1, 3)])
    return EqualWindows(Prosody(line, n_frames, None), 0, frames)


@define(eq=False)
class Listener:
    """A client's player, and the requests that it hears one after the other."""

    session: str
    playout: Hashable
    n_outstanding: int
    is_one_shot: bool = False
    requests: deque[Job] = field(factory=deque)
    dry_at: float = 0.0

    def play(self, seconds: float, now: float) -> None:
        self.dry_at = max(self.dry_at, now) + seconds


@define
class Wait:
    """The wait of one request for its first audio."""

    asked_at: float
    kind: str
    """Of the session."""
    is_newcomer: bool
    """Its listener had nothing outstanding."""
    n_steps_at_slot: int = 0


@define
class Simulation:
    rng: Random
    scheduler: Scheduler = field(
        factory=lambda: Scheduler(max_active=MAX_ACTIVE, queue_maxsize=1, max_batch=MAX_BATCH)
    )
    listeners: list[Listener] = field(factory=list)
    now: float = 0.0
    n_steps: int = 0
    n_cancels: int = 0
    n_asked: int = 0
    untaken_s: defaultdict[Job, float] = field(factory=lambda: defaultdict(float))
    listener_of: dict[Job, Listener] = field(factory=dict)
    unheard: dict[Job, Wait] = field(factory=dict)
    newcomers_waited_s: defaultdict[str, list[float]] = field(factory=lambda: defaultdict(list))
    """From request to first audio, by kind of session."""
    n_steps_waited: list[int] = field(factory=list)
    """From the slot to the first audio."""
    shares_s: defaultdict[str, float] = field(factory=lambda: defaultdict(float))
    """The audio made for each session."""

    def run(self, until: float = SIMULATED_S) -> "Simulation":
        for n in range(N_PLAIN):
            self.listeners.append(Listener(f"plain {n}", None, n_outstanding=N_REQUESTS["plain"]))
        for n in range(N_TAGGED):
            for call in range(N_REQUESTS["tagged"]):
                self.listeners.append(Listener(f"tagged {n}", call, n_outstanding=1))
        for n in range(N_KEYS * N_POSTERS):
            self.listeners.append(Listener(f"key {n % N_KEYS}", None, n_outstanding=1, is_one_shot=True))
        while self.now < until:
            for listener in self.listeners:
                self.ask(listener)
            self.step()
        return self

    def ask(self, listener: Listener) -> None:
        if not listener.requests:
            listener.dry_at = 0.0  # A playout ends with its last request.
        while len(listener.requests) < listener.n_outstanding:
            is_newcomer = not listener.requests
            self.n_asked += 1
            playout = self.n_asked if listener.is_one_shot else listener.playout
            job = self.scheduler.add(listener.session, playout)
            listener.requests.append(job)
            self.listener_of[job] = listener
            self.unheard[job] = Wait(self.now, listener.session.split()[0], is_newcomer)
        for job in self.scheduler.pop_admitted():
            self.unheard[job].n_steps_at_slot = self.n_steps
            lines = [Line(n, "a" * self.rng.randint(3, 90), "v", 1.0) for n in range(self.rng.randint(1, 3))]
            self.scheduler.add_lines(job, lines)
            self.scheduler.end_lines(job)

    def cancel_some(self) -> None:
        """During a step, now and then a listener cancels all its requests, or one."""
        for listener in self.listeners:
            if self.rng.random() > 0.001:
                continue
            all_requests = self.rng.sample(list(listener.requests), len(listener.requests))
            canceled = all_requests[: self.rng.choice([1, len(all_requests)])]
            if listener.requests[0] in canceled:
                listener.dry_at = 0.0
            for job in canceled:
                listener.requests.remove(job)
                self.scheduler.cancel(job, self.now)
                self.untaken_s.pop(job, None)
                self.unheard.pop(job, None)
                self.n_cancels += 1
            self.take(listener)

    def step(self) -> None:
        step = self.scheduler.next_step(self.now)
        assert step is not None, "an overloaded engine idles"
        self.n_steps += 1
        self.cancel_some()
        self.now += STEP_S + sum(window.seconds for window in step.windows) / AUDIO_S_PER_S
        if step.kind is StepKind.PROSODY:
            self.scheduler.complete_prosody(step, [windows(line, self.rng) for line in step.lines])
        else:
            self.deliver(step)
        assert sorted(self.scheduler.slacks_s(self.now)) == pytest.approx(sorted(self.true_slacks_s()))

    def deliver(self, step: Step) -> None:
        for job, window in zip(step.jobs, step.windows, strict=True):
            if job.is_abandoned:
                continue
            session = self.listener_of[job].session
            if (wait := self.unheard.pop(job, None)) is not None:
                self.n_steps_waited.append(self.n_steps - wait.n_steps_at_slot)
                if wait.is_newcomer:
                    self.newcomers_waited_s[wait.kind].append(self.now - wait.asked_at)
            self.untaken_s[job] += window.seconds
            self.shares_s[session] += window.seconds
        self.scheduler.complete_vocode(step, self.now)
        for job in step.jobs:
            self.take(self.listener_of[job])

    def take(self, listener: Listener) -> None:
        """The client takes all audio of its current request at once."""
        while listener.requests:
            job = listener.requests[0]
            if seconds := self.untaken_s.pop(job, 0.0):
                listener.play(seconds, self.now)
                self.scheduler.taken(job, seconds)
            if not job.is_made:
                return
            listener.requests.popleft()
            self.scheduler.remove(job, self.now)

    def true_slacks_s(self) -> list[float]:
        return [
            listener.dry_at - self.now
            for listener in self.listeners
            if listener.requests and (listener.requests[0].made_s or listener.dry_at > self.now)
        ]

    @property
    def round_s(self) -> float:
        """The time in which each session could get one slot."""
        return self.now / len(self.n_steps_waited) * N_SESSIONS

    def end(self) -> None:
        for listener in self.listeners:
            for job in listener.requests:
                self.scheduler.cancel(job, self.now)


@pytest.fixture(scope="module")
def simulation() -> Simulation:
    return Simulation(Random(7)).run()


def test_slack_is_exact_under_overload(simulation: Simulation) -> None:
    """Each step of the run compared the scheduler's slacks with those of the simulated listeners."""
    assert len(simulation.listeners) > 2 * sum(simulation.shares_s.values()) / simulation.now
    assert simulation.n_cancels > 100


def test_every_session_gets_its_share(simulation: Simulation) -> None:
    shares_s = simulation.shares_s.values()
    fair_s = sum(shares_s) / N_SESSIONS
    assert len(shares_s) == N_SESSIONS
    assert fair_s / 2 < min(shares_s) < max(shares_s) < 2 * fair_s


def test_newcomer_waits_for_one_round_of_sessions(simulation: Simulation) -> None:
    longest_s = {kind: max(waits_s) for kind, waits_s in simulation.newcomers_waited_s.items()}
    assert longest_s["plain"] < 2 * simulation.round_s
    assert longest_s["tagged"] < 2 * simulation.round_s * N_REQUESTS["tagged"]
    assert longest_s["key"] < 2 * simulation.round_s * N_REQUESTS["key"]


def test_request_with_a_slot_waits_for_two_steps_of_each_other_one(simulation: Simulation) -> None:
    assert max(simulation.n_steps_waited) < 2 * MAX_ACTIVE


def test_no_request_starves(simulation: Simulation) -> None:
    for wait in simulation.unheard.values():
        assert simulation.now - wait.asked_at < 2 * simulation.round_s * N_REQUESTS[wait.kind]


def test_canceled_requests_leave_nothing_behind() -> None:
    simulation = Simulation(Random(8))
    simulation.run(until=5.0)
    simulation.end()
    assert simulation.scheduler.statistics() == SchedulerStatistics(0, 0, 0, 0)
    assert simulation.scheduler.slacks_s(simulation.now) == ()
    assert simulation.scheduler.next_step(simulation.now) is None
    assert not simulation.scheduler.is_full
    assert all(simulation.scheduler.add(session).active for session in range(MAX_ACTIVE))
