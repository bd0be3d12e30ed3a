# What the scripts in this folder share: where things lie, and whether the server runs.
# Sourced, never run. It goes to the root of the repository, so that all paths below start there.
# shellcheck shell=bash
# shellcheck disable=SC2034  # the variables are for the scripts that source this file

cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." >/dev/null || exit
ROOT=$(pwd -P)
VENV_PYTHON=$ROOT/.venv/bin/python
SETUP_LOG=logs/setup.log
SERVER_LOG=logs/server.log
PID_FILE=logs/server.pid
ADDRESS_FILE=logs/server.address

say() {
    printf '%s\n' "$*"
}

fail() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

# The comment at the head of the script that runs.
usage() {
    sed -n '2,/^set /{/^set /d; s/^# \{0,1\}//; p;}' "scripts/${0##*/}"
}

# hold_lock NAME PYTHON: for as long as this script and what it starts live. The kernel lets go of
# it however they end, so a lock is never stale. The file stays; the pid in it is for the message.
hold_lock() {
    local file=logs/$1.lock
    exec 9>>"$file"
    "$2" -c 'import fcntl; fcntl.flock(9, fcntl.LOCK_EX | fcntl.LOCK_NB)' 2>/dev/null ||
        fail "another scripts/$1.sh is at work here (pid $(cat "$file")); run this again when it has ended"
    say "$$" >"$file"
}

# server_pid: prints the pid of the server that start.sh started, fails when it does not run.
server_pid() {
    local pid
    pid=$(cat "$PID_FILE" 2>/dev/null) || return 1
    is_server "$pid" && say "$pid"
}

# What is called while a script has traps does without $( ), here and in the scripts: a trap that bash 5.2
# meets while it reads one ends the script ("unexpected EOF while looking for matching").

# A pid file outlives a crash and a reboot, and its number may be anybody's by now.
is_server() {
    command_line "$1" | grep -F -- " -m kokoro_trio " >/dev/null
}

# `kill -0` would call a dead process alive where nobody reaps it, as in many containers.
is_alive() {
    command_line "$1" | grep . >/dev/null
}

# command_line PID: its words, each with a space after it; nothing when it is dead.
command_line() {
    if [ -d /proc/self ]; then
        tr '\0' ' ' <"/proc/$1/cmdline"
    else
        ps -p "$1" -o args= | sed 's/$/ /'
    fi 2>/dev/null || true
}

# is_ready HOST PORT: whether the server there says that it is ready to speak.
is_ready() {
    "$VENV_PYTHON" - "$1" "$2" <<'PYTHON'
import http.client
import sys

connection = http.client.HTTPConnection(sys.argv[1], int(sys.argv[2]), timeout=5)
try:
    connection.request("GET", "/readyz")
    sys.exit(connection.getresponse().status != 200)
except (OSError, http.client.HTTPException):
    sys.exit(1)
PYTHON
}

# ended_within SECONDS PID
ended_within() {
    local give_up_at=$((SECONDS + $1))
    while is_server "$2"; do
        [ "$SECONDS" -lt "$give_up_at" ] || return 1
        sleep 0.1
    done
}

forget_server() {
    rm -f "$PID_FILE" "$ADDRESS_FILE"
}
