"""Pure: the order of steps, with events and times passed by the test."""

import math
import sys
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING

import numpy as np
import pytest
from attrs import evolve

from kokoro_trio.engine import scheduler as scheduler_module
from kokoro_trio.engine.scheduler import (
    INTERRUPTION_S,
    NEWCOMER_LEAD_S,
    Job,
    Scheduler,
    SchedulerStatistics,
    Step,
    StepKind,
)
from kokoro_trio.model.synthesizer import EqualWindows
from kokoro_trio.speech import Line, Prosody, Window, Windows

if TYPE_CHECKING:
    from _typeshed import TraceFunction


def line(segment: int = 0) -> Line:
    return Line(segment, "abc", "af_aoede", 1.0)


def windows(seconds: float, n_windows: int = 1) -> Windows:
    """`n_windows` of `seconds` each."""
    frames = round(seconds * 40)
    return EqualWindows(Prosody(line(), np.array([frames * n_windows]), None), 0, frames)


class RecordedWindows(EqualWindows):
    within_s: float | None = None

    def take(self, within_s: float = math.inf) -> Window:
        self.within_s = within_s
        return super().take(within_s)


class WholeWindow(EqualWindows):
    def next(self, within_s: float = math.inf) -> Window:
        return evolve(super().next(within_s), shape_frames=None)


def whole(seconds: float) -> Windows:
    n_frames = round(seconds * 40)
    return WholeWindow(Prosody(line(), np.array([n_frames]), None), 0, n_frames)


def scheduler(max_active: int = 4, queue_maxsize: int = 8, max_batch: int = 1) -> Scheduler:
    return Scheduler(max_active=max_active, queue_maxsize=queue_maxsize, max_batch=max_batch, max_ahead_s=8.0)


def job_with_lines(schedule: Scheduler, session: str, n_lines: int = 1, playout: str | None = None) -> Job:
    job = schedule.add(session, playout)
    schedule.add_lines(job, [line(i) for i in range(n_lines)])
    schedule.end_lines(job)
    return job


def existing(step: Step | None) -> Step:
    assert step is not None, "there is no step"
    return step


def run(schedule: Scheduler, now: float, seconds: float = 1.0, n_windows: int = 1) -> Step | None:
    """Takes the next step and completes it: every line becomes `n_windows` windows of `seconds`."""
    step = schedule.next_step(now)
    if step is None:
        return None
    if step.kind is StepKind.PROSODY:
        schedule.complete_prosody(step, [windows(seconds, n_windows) for _ in step.jobs])
    else:
        schedule.complete_vocode(step, now)
    return step


def order_of_steps(schedule: Scheduler, now: float = 0.0) -> list[tuple[str, str]]:
    steps = iter(lambda: run(schedule, now), None)
    return [(str(step.jobs[0].session), step.kind.value) for step in steps]


def jobs_of_steps(schedule: Scheduler, now: float, n_steps: int) -> list[tuple[Job, ...]]:
    steps = [run(schedule, now) for _ in range(n_steps)]
    return [step.jobs for step in steps if step is not None]


def order_of_steps_until_heard(schedule: Scheduler, job: Job) -> None:
    """Runs steps at 0 s until `job` has its first second of audio."""
    while job.made_s == 0:
        assert run(schedule, 0.0) is not None


def steps_of_others_before_first_audio(
    schedule: Scheduler, n_newcomers: int, in_flight: Step | None = None
) -> list[int]:
    """All newcomers arrive at once: how many steps of others each waits for, with the one in flight."""
    jobs = [job_with_lines(schedule, f"new{number}") for number in range(n_newcomers)]
    ran: list[Job] = []
    if in_flight is not None:
        schedule.complete_vocode(in_flight, 0.2)
        ran.extend(in_flight.jobs)
    waits: dict[int, int] = {}
    while len(waits) < len(jobs):
        step = run(schedule, 0.2, n_windows=9)
        assert step is not None, "a newcomer gets no step"
        ran.extend(step.jobs)
        for job in step.jobs:
            if job in jobs and step.kind is StepKind.VOCODE:
                waits.setdefault(job.number, sum(other is not job for other in ran))
    return sorted(waits.values())


def lines_run(events: Callable[[], None]) -> int:
    """How many lines of the scheduler run during `events`; each turn of a loop counts."""
    n_lines = 0

    def trace(frame: FrameType, event: str, argument: object) -> "TraceFunction | None":
        nonlocal n_lines
        if frame.f_code.co_filename != scheduler_module.__file__:
            return None
        n_lines += event in ("line", "call")
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        events()
    finally:
        sys.settrace(before)
    return n_lines


class TestSteps:
    def test_no_step_without_a_job(self) -> None:
        assert scheduler().next_step(0.0) is None

    def test_job_alternates_between_prosody_and_its_windows(self) -> None:
        schedule = scheduler()
        job_with_lines(schedule, "a", n_lines=2)
        assert order_of_steps(schedule) == [("a", "prosody"), ("a", "vocode")] * 2

    def test_job_in_a_step_gets_no_second_step(self) -> None:
        schedule = scheduler()
        job_with_lines(schedule, "a", n_lines=2)
        assert schedule.next_step(0.0) is not None
        assert schedule.next_step(0.0) is None

    def test_newcomer_gets_its_first_audio_before_the_next_newcomer_begins(self) -> None:
        schedule = scheduler()
        job_with_lines(schedule, "a")
        job_with_lines(schedule, "b")
        assert order_of_steps(schedule) == [
            ("a", "prosody"),
            ("a", "vocode"),
            ("b", "prosody"),
            ("b", "vocode"),
        ]

    @pytest.mark.parametrize("n_active", [1, 3, 7])
    @pytest.mark.parametrize("n_newcomers", [1, 4])
    def test_newcomer_waits_for_at_most_one_step_of_each_active_job(
        self, n_active: int, n_newcomers: int
    ) -> None:
        schedule = scheduler(max_active=16)
        for number in range(n_active):
            job_with_lines(schedule, f"active{number}", n_lines=3)
        for _ in range(3 * n_active):
            run(schedule, 0.0, n_windows=9)
        waits = steps_of_others_before_first_audio(schedule, n_newcomers)
        assert len(waits) == n_newcomers
        for number, wait in enumerate(waits):
            # Two for each newcomer before it: its prosody and its first window.
            assert wait <= n_active + 2 * number

    def test_long_request_delays_a_newcomer_by_one_step_at_most(self) -> None:
        waits = []
        for n_lines in (1, 12):
            schedule = scheduler()
            job_with_lines(schedule, "beside", n_lines=n_lines)
            for _ in range(2):
                run(schedule, 0.0, n_windows=9)
            in_flight = existing(schedule.next_step(0.1))
            (wait,) = steps_of_others_before_first_audio(schedule, 1, in_flight)
            waits.append(wait)
        assert waits == [1, 1]

    def test_first_audio_goes_before_more_audio(self) -> None:
        schedule = scheduler()
        speaking = job_with_lines(schedule, "a", n_lines=3)
        run(schedule, 0.0)
        run(schedule, 0.0)
        assert speaking.made_s == 1.0
        job_with_lines(schedule, "b")
        assert order_of_steps(schedule)[:2] == [("b", "prosody"), ("b", "vocode")]

    def test_playout_that_runs_dry_first_is_served_next(self) -> None:
        schedule = scheduler()
        long = job_with_lines(schedule, "long", n_lines=2)
        run(schedule, 0.0, seconds=5.0)
        run(schedule, 0.0)
        short = job_with_lines(schedule, "short", n_lines=2)
        run(schedule, 0.5, seconds=1.0)
        run(schedule, 0.5)
        assert (long.made_s, short.made_s) == (5.0, 1.0)
        step = existing(schedule.next_step(1.0))
        assert step.jobs == (short,)

    def test_later_utterances_of_a_session_run_after_all_current_ones(self) -> None:
        schedule = scheduler()
        first = job_with_lines(schedule, "a", n_lines=2)
        second = job_with_lines(schedule, "a")
        other = job_with_lines(schedule, "b", n_lines=2)
        steps = [run(schedule, 0.0) for _ in range(10)]
        jobs = [step.jobs[0] for step in steps if step is not None]
        assert set(jobs[:8]) == {first, other}
        assert jobs[8:] == [second, second]

    def test_job_ahead_of_its_consumer_waits_until_audio_is_taken(self) -> None:
        schedule = scheduler()
        job = job_with_lines(schedule, "a", n_lines=3)
        for _ in range(4):
            run(schedule, 0.0, seconds=5.0)
        assert job.made_s == 10.0
        assert schedule.next_step(0.0) is None
        schedule.taken(job, 5.0)
        step = existing(schedule.next_step(0.0))
        assert step.jobs == (job,)

    def test_window_length_depends_on_slack_and_number_of_playouts(self) -> None:
        """It is cut when its step is made, so the audio played meanwhile counts."""
        schedule = scheduler()
        for session in ("a", "b"):
            job_with_lines(schedule, session)
        recorded = RecordedWindows(Prosody(line(), np.array([400]), None), 0, 40)
        for session in ("a", "b"):
            step = existing(schedule.next_step(0.0))
            schedule.complete_prosody(step, [recorded if session == "a" else windows(1.0, 9)])
            run(schedule, 0.0)
        assert recorded.within_s == 0.0
        run(schedule, 0.4)
        assert recorded.within_s == pytest.approx(0.6 / 2)

    def test_dry_playout_is_not_starved_by_newcomers(self) -> None:
        schedule = scheduler(max_active=2)
        listener = job_with_lines(schedule, "listener", n_lines=2)
        order_of_steps_until_heard(schedule, listener)
        now = dry_at = 1.0
        job_with_lines(schedule, "new0")
        served: list[Job] = []
        while listener not in served and len(served) < 50:
            step = run(schedule, now)
            assert step is not None
            served += step.jobs
            if served[-1].is_made:
                schedule.remove(served[-1], now)
                job_with_lines(schedule, f"new{len(served)}")
            now += 0.1
        assert listener in served
        assert now - dry_at == pytest.approx(NEWCOMER_LEAD_S, abs=0.4)

    @pytest.mark.parametrize(("dry_s", "is_first"), [(0.4, "newcomer"), (0.6, "listener")])
    def test_newcomer_goes_before_a_playout_that_is_dry_for_a_short_time(
        self, dry_s: float, is_first: str
    ) -> None:
        schedule = scheduler()
        listener = job_with_lines(schedule, "listener", n_lines=2)
        order_of_steps_until_heard(schedule, listener)
        job_with_lines(schedule, "newcomer")
        step = existing(schedule.next_step(1.0 + dry_s))
        assert step.jobs[0].session == is_first

    def test_pipelined_request_is_due_when_the_one_before_ends(self) -> None:
        """If it were due when it became ready, it would go before playouts that have been dry for long."""
        schedule = scheduler()
        first = job_with_lines(schedule, "pipelined")
        while not first.is_made:
            run(schedule, 0.0, seconds=5.0)
        second = job_with_lines(schedule, "pipelined")
        dry = job_with_lines(schedule, "dry", n_lines=2)
        order_of_steps_until_heard(schedule, dry)
        assert second.made_s == 0
        step = existing(schedule.next_step(5.1))
        assert step.jobs == (dry,)

    def test_later_utterance_waits_for_the_text_of_the_first(self) -> None:
        schedule = scheduler()
        first = schedule.add("a")
        job_with_lines(schedule, "a")
        assert schedule.next_step(0.0) is None
        schedule.add_lines(first, [line()])
        step = existing(schedule.next_step(0.0))
        assert step.jobs == (first,)

    def test_round_robin_over_sessions_that_wait_for_first_audio(self) -> None:
        schedule = scheduler(max_active=8)
        for session in ("a", "b", "c"):
            job_with_lines(schedule, session)
        sessions = [session for session, _ in order_of_steps(schedule)]
        assert sessions == ["a", "a", "b", "b", "c", "c"]


class TestParallelPlayouts:
    """Playouts of one session, as in tagged framing."""

    def test_short_playout_gets_first_audio_beside_a_long_one(self) -> None:
        schedule = scheduler()
        long = job_with_lines(schedule, "a", n_lines=60, playout="r1")
        short = job_with_lines(schedule, "a", playout="r2")
        assert jobs_of_steps(schedule, 0.0, 4) == [(long,)] * 2 + [(short,)] * 2

    def test_no_playout_runs_dry_while_another_is_made(self) -> None:
        schedule = scheduler()
        jobs = [job_with_lines(schedule, "a", n_lines=60, playout=playout) for playout in ("r1", "r2")]
        dry_at: dict[Job, float] = {}
        for number in range(400):
            now = 0.2 * number  # So each playout gets a second of audio in 0.8 s.
            step = run(schedule, now)
            if step is not None and step.kind is StepKind.VOCODE:
                (job,) = step.jobs
                schedule.taken(job, 1.0)
                assert now <= dry_at.get(job, now)
                dry_at[job] = dry_at.get(job, now) + 1.0
        assert all(job.is_made for job in jobs)

    def test_each_playout_has_its_own_slack(self) -> None:
        schedule = scheduler()
        for playout in ("r1", "r2"):
            job_with_lines(schedule, "a", n_lines=2, playout=playout)
        for _ in range(4):
            run(schedule, 0.0)
        assert schedule.slacks_s(0.25) == (0.75, 0.75)


class TestBatches:
    def test_lines_batch_up_to_the_limit(self) -> None:
        schedule = scheduler(max_batch=2)
        for session in ("a", "b", "c"):
            job_with_lines(schedule, session)
        step = existing(schedule.next_step(0.0))
        assert len(step.jobs) == len(step.lines) == 2

    def test_lines_of_different_length_do_not_share_a_batch(self) -> None:
        schedule = scheduler(max_batch=4)
        jobs = [schedule.add(session) for session in "abcd"]
        for job, n_phonemes in zip(jobs, (40, 62, 63, 20), strict=True):
            schedule.add_lines(job, [Line(0, "a" * n_phonemes, "af_heart", 1.0)])
        steps = [schedule.next_step(0.0), schedule.next_step(0.0)]
        assert [step.jobs for step in steps if step is not None] == [(jobs[0], jobs[1], jobs[3]), (jobs[2],)]

    def test_only_windows_of_equal_length_share_a_batch(self) -> None:
        schedule = scheduler(max_batch=4)
        jobs = [job_with_lines(schedule, session) for session in ("a", "b", "c")]
        step = existing(schedule.next_step(0.0))
        schedule.complete_prosody(step, [windows(1.0), windows(2.0), windows(1.0)])
        step = existing(schedule.next_step(0.0))
        assert set(step.jobs) == {jobs[0], jobs[2]}

    def test_batch_splits_into_single_steps(self) -> None:
        schedule = scheduler(max_batch=4)
        for session in ("a", "b"):
            job_with_lines(schedule, session)
        step = existing(schedule.next_step(0.0))
        singles = step.singly()
        assert [single.jobs for single in singles] == [(job,) for job in step.jobs]
        assert [single.lines for single in singles] == [(it,) for it in step.lines]


class TestAdmission:
    def test_slots_are_limited(self) -> None:
        schedule = scheduler(max_active=2)
        jobs = [schedule.add(session) for session in "abc"]
        assert schedule.pop_admitted() == jobs[:2]
        assert [job.active for job in jobs] == [True, True, False]

    def test_removed_job_frees_its_slot(self) -> None:
        schedule = scheduler(max_active=1)
        first, second = schedule.add("a"), schedule.add("b")
        schedule.pop_admitted()
        schedule.remove(first, 0.0)
        assert schedule.pop_admitted() == [second]

    def test_parallel_playouts_of_one_session_may_use_all_slots(self) -> None:
        schedule = scheduler(max_active=3)
        jobs = [schedule.add("one key", playout=number) for number in range(4)]
        assert [job.active for job in jobs] == [True, True, True, False]

    def test_last_slot_is_kept_for_a_newcomer(self) -> None:
        schedule = scheduler(max_active=3)
        greedy = [schedule.add("greedy") for _ in range(5)]
        assert [job.active for job in greedy] == [True, True, False, False, False]
        assert schedule.add("newcomer").active

    def test_session_without_a_slot_is_admitted_first(self) -> None:
        schedule = scheduler(max_active=2)
        running = [schedule.add("a"), schedule.add("b")]
        waiting_a, waiting_c = schedule.add("a"), schedule.add("c")
        schedule.pop_admitted()
        schedule.remove(running[1], 0.0)
        assert schedule.pop_admitted() == [waiting_c]
        assert not waiting_a.active

    def test_finished_job_holds_no_slot(self) -> None:
        schedule = scheduler(max_active=1)
        first = job_with_lines(schedule, "a")
        second = schedule.add("b")
        run(schedule, 0.0)
        run(schedule, 0.0)
        assert first.is_made
        assert second.active

    def test_job_ahead_of_its_consumer_holds_no_slot(self) -> None:
        schedule = scheduler(max_active=1)
        job_with_lines(schedule, "a", n_lines=3)
        waiting = schedule.add("b")
        run(schedule, 0.0, seconds=9.0)
        assert not waiting.active
        run(schedule, 0.0)
        assert waiting.active

    def test_audio_ahead_is_bounded_for_any_number_of_requests(self) -> None:
        schedule = scheduler(max_active=4, queue_maxsize=100)
        jobs = [job_with_lines(schedule, "a", n_lines=2) for _ in range(50)]
        order_of_steps(schedule)
        made_s = [job.made_s for job in jobs]
        # Eight seconds behind the first job, and the steps that had begun before this limit was reached.
        assert 8 <= sum(made_s[1:]) <= 8 + 4
        assert [job.active for job in jobs].count(True) <= 8
        # Audio that is taken makes room for as much again, in the order of arrival.
        for job in jobs[:2]:
            schedule.taken(job, 2.0)
            schedule.remove(job, 0.0)
        order_of_steps(schedule)
        assert sum(job.made_s for job in jobs) == sum(made_s) + 4
        assert [job.is_made for job in jobs] == sorted((job.is_made for job in jobs), reverse=True)

    def test_audio_ahead_of_later_utterances_does_not_stop_the_current_one(self) -> None:
        schedule = scheduler(max_active=3)
        first = job_with_lines(schedule, "a", n_lines=3)
        beyond = job_with_lines(schedule, "a", n_lines=3)
        first.is_ended = False  # The rest of its text is still being read.
        kept = [first.lines.pop(), first.lines.pop()]
        order_of_steps(schedule)
        assert beyond.made_s == 3.0
        for _ in range(6):
            beyond.lines.append(line())
        order_of_steps(schedule)
        schedule.add_lines(first, kept)
        schedule.end_lines(first)
        order_of_steps(schedule)
        assert first.is_made

    def test_short_utterance_is_made_behind_a_long_one_that_is_not_taken(self) -> None:
        schedule = scheduler(max_active=3)
        job_with_lines(schedule, "a", n_lines=20)
        order_of_steps(schedule)
        short = job_with_lines(schedule, "a")
        order_of_steps(schedule)
        assert short.is_made

    def test_short_utterance_is_made_behind_a_long_one_that_is_taken_at_once(self) -> None:
        schedule = scheduler(max_active=3)
        long, short = job_with_lines(schedule, "a", n_lines=20), job_with_lines(schedule, "a")
        while not short.is_made:
            step = run(schedule, 0.0)
            assert step is not None
            if step.kind is StepKind.VOCODE and step.jobs[0] is long:
                schedule.taken(long, 1.0)
        assert long.made_s == 8.0

    def test_is_full_at_queue_maxsize(self) -> None:
        schedule = scheduler(max_active=1, queue_maxsize=2)
        jobs = [schedule.add("a") for _ in range(2)]
        assert not schedule.is_full
        jobs.append(schedule.add("a"))
        assert schedule.is_full
        schedule.remove(jobs[1], 0.0)
        assert not schedule.is_full

    def test_newcomers_do_not_starve_a_waiting_session(self) -> None:
        schedule = scheduler(max_active=1)
        job_with_lines(schedule, "talk")
        order_of_steps(schedule)
        in_slot = schedule.add("new0")
        newcomers = [schedule.add("new1")]
        following = schedule.add("talk")
        for number in range(2, 6):
            newcomers.append(schedule.add(f"new{number}"))
            schedule.remove(in_slot, 0.0)
            (in_slot,) = [job for job in (following, *newcomers) if job.active]
            if in_slot is following:
                break
        assert following.active
        assert len(newcomers) == 3, "one arrived before it, and two before its turn"

    def test_session_with_many_requests_gets_one_turn_at_a_time(self) -> None:
        schedule = scheduler(max_active=1, queue_maxsize=100)
        many = [schedule.add("many", playout) for playout in range(20)]
        others = [schedule.add(session) for session in "abc"]
        order = []
        for _ in range(6):
            (active,) = [job for job in (*many, *others) if job.active]
            order.append(active.session)
            schedule.remove(active, 0.0)
            (many if active in many else others).remove(active)
        assert order == ["many", "a", "b", "c", "many", "many"]

    @pytest.mark.parametrize("waits", ["in sessions of their own", "in one session"])
    def test_cost_does_not_depend_on_the_number_of_waiting_jobs(self, waits: str) -> None:
        def work(n_waiting: int) -> int:
            schedule = scheduler(max_active=4, queue_maxsize=10)
            active = job_with_lines(schedule, "active")
            leaves = [schedule.add(f"leaves{number}") for number in range(3)]
            for number in range(n_waiting):
                schedule.add("waits" if waits == "in one session" else f"waits{number}")

            def events() -> None:
                for _ in range(3):
                    run(schedule, 0.0)
                schedule.taken(active, 1.0)
                schedule.remove(schedule.add("newcomer"), 0.0)
                for job in leaves:
                    schedule.remove(job, 0.0)

            return lines_run(events)

        assert work(10) == work(1000)


class TestSlack:
    def test_slack_is_the_audio_left_to_play(self) -> None:
        schedule = scheduler()
        job_with_lines(schedule, "a", n_lines=2)
        job_with_lines(schedule, "b", n_lines=2)
        assert schedule.slacks_s(0.0) == ()
        for now in (0.0, 0.5, 0.5, 1.0):
            run(schedule, now)  # Each gets a second of audio, the first listener at 0.5, the second at 1.0.
        assert schedule.slacks_s(1.25) == (0.25, 0.75)
        assert schedule.slacks_s(3.0) == (-1.5, -1.0)

    def test_finished_playout_has_no_slack(self) -> None:
        schedule = scheduler()
        job = job_with_lines(schedule, "a")
        order_of_steps(schedule)
        assert job.is_made
        assert schedule.slacks_s(5.0) == ()

    def test_slow_consumer_has_no_slack(self) -> None:
        schedule = scheduler()
        job = job_with_lines(schedule, "a")
        for _ in range(2):
            run(schedule, 0.0, seconds=8.0, n_windows=2)
        assert schedule.slacks_s(100.0) == ()
        schedule.taken(job, 0.5)
        assert schedule.slacks_s(100.0) == (-92.0,)

    def test_playout_waiting_for_its_next_utterance_has_no_slack(self) -> None:
        schedule = scheduler(max_active=1)
        job_with_lines(schedule, "a")
        job_with_lines(schedule, "a")
        for _ in range(2):
            run(schedule, 0.0)
        assert schedule.slacks_s(0.5) == (0.5,)
        assert schedule.slacks_s(1.5) == ()

    def test_audio_behind_the_current_utterance_counts_when_it_is_made(self) -> None:
        schedule = scheduler()
        first, second = job_with_lines(schedule, "a"), job_with_lines(schedule, "a", n_lines=2)
        first.is_ended = False
        for _ in range(6):
            run(schedule, 0.0)
        assert (first.made_s, second.made_s) == (1.0, 2.0)
        assert schedule.slacks_s(0.25) == (0.75,)
        second.is_ended = False
        schedule.end_lines(first)
        assert schedule.slacks_s(0.25) == (2.75,)

    def test_cancel_of_the_current_utterance_removes_its_audio(self) -> None:
        schedule = scheduler()
        job = job_with_lines(schedule, "a", n_lines=40)
        for _ in range(80):
            run(schedule, 0.0)
            schedule.taken(job, job.made_s - job.taken_s)
        assert job.made_s == 40.0
        following = job_with_lines(schedule, "a")
        assert schedule.slacks_s(10.0) == (30.0,)
        schedule.cancel(job, 10.0)
        assert schedule.slacks_s(10.0) == ()
        job_with_lines(schedule, "b")
        assert jobs_of_steps(schedule, 10.0, 2) == [(following,)] * 2

    def test_cancel_of_the_current_utterance_keeps_audio_behind_it(self) -> None:
        schedule = scheduler()
        first, second = job_with_lines(schedule, "a"), job_with_lines(schedule, "a", n_lines=2)
        for _ in range(4):
            run(schedule, 0.0)
        assert (first.made_s, second.made_s) == (1.0, 1.0)
        schedule.cancel(first, 0.5)
        assert schedule.slacks_s(0.75) == (0.75,)

    def test_cancel_of_a_later_utterance_removes_only_its_audio(self) -> None:
        schedule = scheduler()
        jobs = [job_with_lines(schedule, "a", n_lines) for n_lines in (1, 2, 1)]
        for _ in range(4):
            run(schedule, 0.0)
        assert [job.made_s for job in jobs] == [1.0, 1.0, 0.0]
        assert schedule.slacks_s(0.5) == (1.5,)
        schedule.cancel(jobs[1], 0.5)
        assert schedule.slacks_s(0.5) == (0.5,)

    def test_end_keeps_the_audio_that_the_client_has_to_play(self) -> None:
        schedule = scheduler()
        first = job_with_lines(schedule, "a")
        job_with_lines(schedule, "a")
        run(schedule, 0.0)
        run(schedule, 0.0)
        schedule.taken(first, 1.0)
        schedule.remove(first, 0.0)
        assert schedule.slacks_s(0.5) == (0.5,)

    def test_audio_behind_counts_if_all_is_taken_at_once(self) -> None:
        """Both utterances are made, and the client takes them while a step is in flight."""
        schedule = scheduler()
        jobs = [job_with_lines(schedule, "a"), job_with_lines(schedule, "a"), job_with_lines(schedule, "a")]
        jobs[0].is_ended = False
        for _ in range(4):
            run(schedule, 0.0)
        schedule.end_lines(jobs[0])
        for job in jobs[:2]:
            schedule.taken(job, 1.0)
            schedule.remove(job, 0.0)
        assert schedule.slacks_s(0.5) == (1.5,)

    def test_window_of_an_abandoned_job_is_not_counted(self) -> None:
        schedule = scheduler()
        job = job_with_lines(schedule, "a")
        following = job_with_lines(schedule, "a")
        run(schedule, 0.0)
        step = existing(schedule.next_step(0.0))
        schedule.abandon(job)
        schedule.complete_vocode(step, 0.0)
        assert job.made_s == 0
        assert schedule.slacks_s(0.0) == ()
        assert jobs_of_steps(schedule, 0.0, 2) == [(following,)] * 2


class TestLeaving:
    @pytest.mark.parametrize("steps_before", [0, 1, 2, 3])
    def test_removed_job_leaves_nothing_behind(self, steps_before: int) -> None:
        schedule = scheduler()
        job = job_with_lines(schedule, "a", n_lines=2)
        for _ in range(steps_before):
            run(schedule, 0.0)
        schedule.remove(job, 0.0)
        statistics = schedule.statistics()
        assert statistics == SchedulerStatistics(sessions=0, active=0, waiting=0, in_step=0)
        assert schedule.next_step(0.0) is None

    def test_step_in_flight_of_a_removed_job_is_dropped(self) -> None:
        schedule = scheduler()
        job = job_with_lines(schedule, "a")
        step = existing(schedule.next_step(0.0))
        schedule.remove(job, 0.0)
        schedule.complete_prosody(step, [windows(1.0)])
        assert schedule.next_step(0.0) is None
        assert schedule.statistics().sessions == 0

    def test_failed_step_abandons_its_jobs(self) -> None:
        schedule = scheduler(max_active=1)
        job = job_with_lines(schedule, "a", n_lines=3)
        waiting = schedule.add("b")
        step = existing(schedule.next_step(0.0))
        schedule.complete_failed(step)
        assert job.is_made
        assert waiting.active

    def test_step_in_flight_of_an_abandoned_job_is_dropped(self) -> None:
        schedule = scheduler()
        job = job_with_lines(schedule, "a")
        step = existing(schedule.next_step(0.0))
        schedule.abandon(job)
        schedule.complete_prosody(step, [windows(1.0)])
        assert job.is_made


def test_whole_segments_do_not_share_a_batch() -> None:
    schedule = scheduler(max_batch=8)
    for session in "abcd":
        job_with_lines(schedule, session)
    prosody = existing(schedule.next_step(0.0))
    schedule.complete_prosody(prosody, [windows(1.0), whole(1.0), windows(1.0), whole(1.0)])
    steps = list(iter(lambda: run(schedule, 0.0), None))
    batches = [tuple(str(job.session) for job in step.jobs) for step in steps]
    assert sorted(batches) == [("a", "c"), ("b",), ("d",)]


class TestInterruptions:
    """Of a window of a listener's job, which has no audio yet or a second of it."""

    @staticmethod
    def vocode_step(schedule: Scheduler, n_made: int = 1) -> Step:
        job_with_lines(schedule, "listener")
        while (step := schedule.next_step(0.0)) is not None:
            if step.kind is StepKind.PROSODY:
                schedule.complete_prosody(step, [windows(1.0, 9)])
            elif step.jobs[0].made_s < n_made:
                schedule.complete_vocode(step, 0.0)
            else:
                return step
        raise AssertionError("there are nine windows")

    def test_newcomer_interrupts_a_window(self) -> None:
        schedule = scheduler()
        step = self.vocode_step(schedule)
        newcomer = job_with_lines(schedule, "newcomer")
        interruption = existing(schedule.next_interruption(step, 0.1))
        assert interruption.jobs == (newcomer,)
        assert schedule.next_interruption(step, 0.1) is None

    @pytest.mark.parametrize("now", [1.0 - INTERRUPTION_S + 0.05, 0.95])
    def test_no_interruption_if_the_playout_would_run_dry(self, now: float) -> None:
        schedule = scheduler()
        step = self.vocode_step(schedule)
        job_with_lines(schedule, "newcomer")
        assert schedule.next_interruption(step, now) is None

    @pytest.mark.parametrize(("dry_s", "is_one"), [(0.1, True), (NEWCOMER_LEAD_S + 0.1, False)])
    def test_dry_playout_is_interrupted_for_a_short_time_only(self, dry_s: float, is_one: bool) -> None:
        schedule = scheduler()
        step = self.vocode_step(schedule)
        job_with_lines(schedule, "newcomer")
        assert (schedule.next_interruption(step, 1.0 + dry_s) is not None) is is_one

    def test_no_interruption_of_an_earlier_newcomer(self) -> None:
        schedule = scheduler()
        step = self.vocode_step(schedule, n_made=0)
        job_with_lines(schedule, "newcomer")
        assert schedule.next_interruption(step, 0.1) is None

    def test_no_interruption_by_a_playout_that_has_begun(self) -> None:
        schedule = scheduler()
        step = self.vocode_step(schedule, n_made=3)
        other = job_with_lines(schedule, "other", n_lines=2)
        order_of_steps_until_heard(schedule, other)
        assert schedule.next_interruption(step, 0.5) is None

    def test_step_of_a_canceled_job_is_interrupted(self) -> None:
        schedule = scheduler()
        step = self.vocode_step(schedule)
        schedule.cancel(step.jobs[0], 0.9)
        job_with_lines(schedule, "newcomer")
        assert schedule.next_interruption(step, 0.9) is not None
