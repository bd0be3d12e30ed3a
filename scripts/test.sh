#!/usr/bin/env bash
# Sets up what the tests need, checks lint, format, types, layers and packages, runs the tests in
# parallel and then those marked `slow` one by one; stops at the first step that fails.
#
#   bash scripts/test.sh                          everything
#   bash scripts/test.sh tests/scripts/test_scripts.py    arguments go to pytest, and only pytest runs
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=environment.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/environment.sh"

main() {
    step setup bash scripts/setup.sh --test
    if [ $# -eq 0 ]; then
        step lint "$VENV_PYTHON" -m ruff check .
        step format "$VENV_PYTHON" -m ruff format --check .
        step types "$VENV_PYTHON" -m mypy --num-workers "$(n_processes)"
        step layers .venv/bin/lint-imports
        step packages "$VENV_PYTHON" -m pip check
    fi
    if [ $# -eq 0 ]; then
        step "parallel tests" "$VENV_PYTHON" -m pytest -m "not slow" -n "$(n_processes)" --dist loadfile
        set -- -m slow
    fi
    # Nothing is printed after pytest's closing line, which has the result and the duration.
    say "== tests"
    exec "$VENV_PYTHON" -m pytest "$@"
}

# n_processes: one for each core. A process that loads the model needs 2 GB, and the server that its tests
# start needs as much again.
n_processes() {
    "$VENV_PYTHON" - <<'PYTHON'
import os
from pathlib import Path

cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
limit = Path("/sys/fs/cgroup/memory.max")
if limit.exists() and (allowed := limit.read_text().strip()).isdecimal():
    memory = min(memory, int(allowed))
print(max(1, min(cores, memory // 4_000_000_000)))
PYTHON
}

# step NAME COMMAND
step() {
    local name=$1 began=$SECONDS
    shift
    say "== $name"
    "$@" || fail "$name failed: $*"
    say "== $name: $((SECONDS - began)) s"
}

[ "${BASH_SOURCE[0]}" != "$0" ] || main "$@"
