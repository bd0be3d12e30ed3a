#!/usr/bin/env bash
# Sets up what the tests need, then checks lint, format, types, layers and packages and runs all
# tests; stops at the first that fails.
#
#   bash scripts/test.sh                          everything
#   bash scripts/test.sh tests/test_scripts.py    arguments go to pytest, and only pytest runs
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=environment.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/environment.sh"

main() {
    step setup bash scripts/setup.sh --test
    if [ $# -eq 0 ]; then
        step lint "$VENV_PYTHON" -m ruff check .
        step format "$VENV_PYTHON" -m ruff format --check .
        step types "$VENV_PYTHON" -m mypy --num-workers 2
        step layers .venv/bin/lint-imports
        step packages "$VENV_PYTHON" -m pip check
    fi
    # By two processes, as many tests wait for servers and clients of their own. Not by more: what loads the
    # model needs 2 GB each time.
    [ $# -gt 0 ] || set -- --numprocesses 2 --dist loadfile
    # Last, and nothing after it: pytest's closing line says how it went and how long it took.
    say "== tests"
    exec "$VENV_PYTHON" -m pytest "$@"
}

# step NAME COMMAND
step() {
    local name=$1 began=$SECONDS
    shift
    say "== $name"
    "$@" || fail "$name failed: $*"
    say "== $name: $((SECONDS - began)) s"
}

main "$@"
