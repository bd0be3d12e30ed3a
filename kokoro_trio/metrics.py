"""`python -m kokoro_trio.metrics` prints summaries of the requests in the metrics log."""

import argparse
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from kokoro_trio.config import Config
from kokoro_trio.errors import StartError
from kokoro_trio.telemetry.records import FILE_NAME, LogReader
from kokoro_trio.telemetry.summaries import BadPeriod, parse_periods, table

DEFAULT_PERIODS = "30m,1h,6h,24h,3d"


def main(arguments: Sequence[str] | None = None) -> None:
    options = _command_line().parse_args(arguments)
    try:
        periods = parse_periods(options.periods)
        reader = LogReader(options.file or _default_file())
        now = datetime.now(UTC)
        longest = max(periods.values())
        records = [record for record in reader.records() if record.ts >= now - longest]
    except (BadPeriod, StartError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    no_requests = f"no requests in {reader.path} within {', '.join(periods)}"
    print("\n".join(table(periods, records, now)) if records else no_requests)
    if reader.n_damaged:
        print(f"skipped {reader.n_damaged} damaged lines", file=sys.stderr)


def _command_line() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="kokoro-trio metrics", description="Summarizes the ended requests in the metrics log."
    )
    parser.add_argument("--periods", default=DEFAULT_PERIODS, help="default: %(default)s")
    parser.add_argument("--file", type=Path, help="default: metrics.log in LOG_FOLDER")
    return parser


def _default_file() -> Path:
    # With a loopback host the configuration needs no API_KEY.
    return Config.load(host="127.0.0.1").log.folder / FILE_NAME


if __name__ == "__main__":
    main()
