#!/usr/bin/env bash
# Stops the server that scripts/start.sh started. Within SHUTDOWN_GRACE seconds the server finishes its running
# requests. It is no error if no server runs; the exit status is 1 if the server had to be killed.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=environment.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/environment.sh"

# After the grace period, to close connections and to release the GPU.
SPARE_S=10

main() {
    local pid
    if ! pid=$(server_pid); then
        forget_server
        say "The server does not run."
        return
    fi
    kill -TERM "$pid"
    if ended_within "$(($(grace_s) + SPARE_S))" "$pid"; then
        forget_server
        say "The server has ended (pid $pid)."
    else
        kill -KILL "$pid"
        forget_server
        fail "the server (pid $pid) did not end after SIGTERM and was killed; see $SERVER_LOG"
    fi
}

grace_s() {
    "$VENV_PYTHON" -c \
        'from kokoro_trio.config import Config; print(int(Config.load().listen.shutdown_grace_s))' \
        2>/dev/null || say 30
}

main "$@"
