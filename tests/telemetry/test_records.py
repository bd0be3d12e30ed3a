"""Pure: records and summaries; and the metrics log on a disk."""

import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from attrs import evolve

from kokoro_trio.audio.head_silence import HeadSilence
from kokoro_trio.config import REPOSITORY
from kokoro_trio.metrics import main
from kokoro_trio.telemetry.records import (
    KEPT_FILES,
    DamagedLine,
    LogReader,
    MetricsLog,
    RequestRecord,
)
from kokoro_trio.telemetry.summaries import BadPeriod, Summary, parse_periods
from kokoro_trio.telemetry.times import RequestTimes
from tests.support.scraping import TIMES, record


class TestRequestRecord:
    def test_durations_and_rates_from_times(self) -> None:
        it = record()
        assert (it.ttfb_ms, it.ttfa_ms, it.queue_ms) == (200.0, 450.0, 50.0)
        assert (it.wall_s, it.audio_s, it.rtf, it.xrt) == (0.5, 2.0, 0.25, 4.0)
        assert (it.turn_wait_ms, it.kilobytes_per_s) == (0.0, 192.0)
        assert (it.end, it.canceled) == ("done", False)
        assert abs(datetime.now(UTC) - it.ts) < timedelta(seconds=10)

    def test_request_without_audio_has_no_times(self) -> None:
        times = RequestTimes(100.0)
        it = times.record(request_id="r1", voice="af_aoede", end="canceled", audio_s=0.0, ended_at=100.5)
        assert it.canceled
        assert (it.ttfb_ms, it.ttfa_ms, it.queue_ms, it.turn_wait_ms) == (None,) * 4
        assert (it.wall_s, it.rtf, it.xrt, it.kilobytes_per_s) == (0.0, None, None, None)

    def test_times_count_from_the_turn(self) -> None:
        """The request was made while the one before it was played."""
        times = evolve(TIMES, turn_at=104.0, first_frame_at=104.1)
        it = times.record(request_id="r2", voice="af_aoede", end="done", audio_s=2.0, ended_at=104.5)
        assert (it.turn_wait_ms, it.ttfb_ms, it.ttfa_ms, it.queue_ms) == (4000.0, 100.0, 350.0, 50.0)
        assert (it.wall_s, it.rtf, it.xrt) == (0.5, 0.25, 4.0)

    def test_silent_audio_has_no_ttfa(self) -> None:
        times = evolve(TIMES, head_silence=HeadSilence())
        it = times.record(request_id="r1", voice="af_aoede", end="done", audio_s=1.0, ended_at=101.0)
        assert (it.ttfb_ms, it.ttfa_ms) == (200.0, None)

    def test_line_holds_the_whole_record(self) -> None:
        it = record(ts=datetime(2026, 5, 4, 3, 2, 1, 123000, UTC))
        assert json.loads(it.to_line())["ts"] == "2026-05-04T03:02:01.123+00:00"
        assert RequestRecord.from_line(it.to_line()) == it

    def test_line_of_an_earlier_version_is_read(self) -> None:
        line = (
            '{"ts": "2026-05-04T03:02:01.123+00:00", "request_id": "r1", "voice": "af_aoede", "end": "done", '
            '"canceled": false, "ttfb_ms": 200.0, "ttfa_ms": 450.0, "queue_ms": 50.0, "wall_s": 0.5, '
            '"audio_s": 2.0, "rtf": 0.25, "xrt": 4.0, "kbps": 192.0}'
        )
        it = RequestRecord.from_line(line)
        assert (it.ttfb_ms, it.turn_wait_ms, it.kilobytes_per_s) == (200.0, None, None)

    def test_fields_of_a_later_version_are_ignored(self) -> None:
        line = json.dumps(json.loads(record().to_line()) | {"later": 1})
        assert RequestRecord.from_line(line).request_id == "r1"

    @pytest.mark.parametrize(
        "line",
        [
            "",
            "{",
            "5",
            "[]",
            "{}",
            "[" * 100_000,
            '{"ts": 5}',
            record().to_line()[:-20],
            record().to_line().replace("200.0", '"fast"'),
            record().to_line().replace("200.0", "NaN"),
            record().to_line().replace('"ts": "', '"ts": "the day after '),
            record().to_line().replace('"voice": "af_aoede"', '"voice": null'),
        ],
    )
    def test_damaged_line_is_rejected(self, line: str) -> None:
        with pytest.raises(DamagedLine):
            RequestRecord.from_line(line)


class TestMetricsLog:
    def test_appends_a_line_for_each_record(self, tmp_path: Path) -> None:
        for request_id in ("r1", "r2"):
            with closing(MetricsLog(tmp_path / "logs", 10_000)) as log:
                log.write(record(request_id=request_id))
        lines = (tmp_path / "logs" / "metrics.log").read_text().splitlines()
        assert [json.loads(line)["request_id"] for line in lines] == ["r1", "r2"]

    def test_creates_no_file_before_the_first_record(self, tmp_path: Path) -> None:
        MetricsLog(tmp_path / "logs", 10_000)
        assert list(tmp_path.iterdir()) == []

    def test_rotates_at_max_bytes(self, tmp_path: Path) -> None:
        with closing(MetricsLog(tmp_path, 1000)) as log:
            for index in range(100):
                log.write(record(request_id=f"r{index}"))
        files = sorted(tmp_path.iterdir())
        assert [file.name for file in files] == [
            "metrics.log",
            *(f"metrics.log.{n}" for n in range(1, KEPT_FILES + 1)),
        ]
        assert all(file.stat().st_size <= 1000 for file in files)
        kept = [each.request_id for each in LogReader(tmp_path / "metrics.log").records()]
        assert kept == [f"r{index}" for index in range(100 - len(kept), 100)]

    def test_unusable_folder_raises_and_is_retried(self, tmp_path: Path) -> None:
        obstacle = tmp_path / "logs"
        obstacle.write_text("a file")
        with closing(MetricsLog(obstacle, 10_000)) as log:
            for _ in range(2):
                with pytest.raises(OSError, match="logs"):
                    log.write(record())
            obstacle.unlink()
            log.write(record())
        assert len(list(LogReader(obstacle / "metrics.log").records())) == 1

    def test_full_disk_raises(self, tmp_path: Path) -> None:
        (tmp_path / "metrics.log").symlink_to("/dev/full")
        log = MetricsLog(tmp_path, 10_000)
        with pytest.raises(OSError, match="No space left"):
            log.write(record())
        with pytest.raises(OSError, match="No space left"):
            log.close()

    def test_does_not_use_the_logging_of_the_process(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.DEBUG), closing(MetricsLog(tmp_path, 10_000)) as log:
            log.write(record(request_id="100%s"))
        assert caplog.records == []
        assert [each.request_id for each in LogReader(tmp_path / "metrics.log").records()] == ["100%s"]


class TestSummary:
    def test_counts_each_end_once(self) -> None:
        ends = ["done", "done", "done", "canceled", "disconnected", "synthesis_failed", "overloaded", "done"]
        summary = Summary.of([record(end=end) for end in ends])
        assert (summary.n, summary.n_done, summary.n_canceled) == (8, 4, 1)
        assert (summary.n_disconnected, summary.n_failed) == (1, 2)
        assert summary.canceled_share == 1 / 8

    def test_percentiles_ignore_missing_values(self) -> None:
        records = [record(ttfb_ms=float(ms), xrt=float(ms)) for ms in range(1, 102)]
        summary = Summary.of([*records, record(ttfb_ms=None, xrt=None)])
        assert summary.ttfb_ms == (51.0, 96.0, 100.0)
        assert summary.xrt_median == 51.0

    def test_summary_of_no_requests(self) -> None:
        summary = Summary.of([])
        assert (summary.ttfb_ms, summary.ttfa_ms) == ((), ())
        assert (summary.xrt_median, summary.canceled_share, summary.n_failed) == (None, None, 0)


class TestPeriods:
    def test_periods_by_name(self) -> None:
        assert parse_periods("45s, 30m,6h,3d") == {
            "45s": timedelta(seconds=45),
            "30m": timedelta(minutes=30),
            "6h": timedelta(hours=6),
            "3d": timedelta(days=3),
        }

    @pytest.mark.parametrize(
        "bad", ["", "30", "m", "0m", "-1h", "1.5h", "1w", "30m,", "30 m", "99999d", "٣d"]
    )
    def test_malformed_period_is_rejected(self, bad: str) -> None:
        with pytest.raises(BadPeriod, match="is not a period"):
            parse_periods(bad)


class TestCommand:
    @pytest.fixture
    def log(self, tmp_path: Path) -> Iterator[MetricsLog]:
        with closing(MetricsLog(tmp_path, 100_000)) as log:
            yield log

    def test_prints_a_row_for_each_period(
        self, log: MetricsLog, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        now = datetime.now(UTC)
        log.write(record(ts=now - timedelta(hours=2), end="canceled", ttfb_ms=400.0, xrt=6.0))
        log.write(record(ts=now - timedelta(minutes=1)))
        main(["--periods", "10s,30m,6h", "--file", str(tmp_path / "metrics.log")])
        head, *rows = [line.split() for line in capsys.readouterr().out.splitlines()]
        assert head[:4] == ["period", "requests", "done", "canceled"]
        assert rows == [
            ["10s", "0", "0", "0", "0", "0", "-", "-", "-", "-"],
            ["30m", "1", "1", "0", "0", "0", "0.0%", "200/200/200", "450/450/450", "4.00"],
            ["6h", "2", "1", "1", "0", "0", "50.0%", "300/390/398", "450/450/450", "5.00"],
        ]

    def test_damaged_lines_are_counted(
        self, log: MetricsLog, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        log.write(record())
        with (tmp_path / "metrics.log").open("ab") as file:
            file.write(b'{"ts": "2026\n\xff\xfe\x00\n')
        log.write(record())
        main(["--periods", "1h", "--file", str(tmp_path / "metrics.log")])
        printed = capsys.readouterr()
        assert printed.out.splitlines()[1].split()[:2] == ["1h", "2"]
        assert printed.err == "skipped 2 damaged lines\n"

    def test_missing_log_has_no_requests(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        main(["--periods", "1h,2h", "--file", str(tmp_path / "metrics.log")])
        assert capsys.readouterr().out == f"no requests in {tmp_path}/metrics.log within 1h, 2h\n"

    @pytest.mark.parametrize("arguments", [["--periods", "soon"], ["--file", "/"]])
    def test_error_is_one_line(self, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit) as exited:
            main(arguments)
        assert exited.value.code == 2
        printed = capsys.readouterr()
        assert (printed.out, printed.err.count("\n")) == ("", 1)
        assert printed.err.startswith("error: ")

    def test_runs_as_a_module(self, tmp_path: Path) -> None:
        ran = subprocess.run(
            [sys.executable, "-m", "kokoro_trio.metrics", "--file", str(tmp_path / "none.log")],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert (ran.returncode, ran.stderr) == (0, "")
        assert ran.stdout.startswith("no requests in ")
