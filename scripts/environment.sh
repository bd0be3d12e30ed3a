# Paths and functions that the scripts in this folder share. They source this file, which changes to the root
# of the repository: all paths are relative to it.
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

# usage: prints the comment at the head of the running script.
usage() {
    sed -n '2,/^set /{/^set /d; s/^# \{0,1\}//; p;}' "scripts/${0##*/}"
}

# hold_lock NAME PYTHON: holds a lock until this script and its children have ended. The kernel releases it
# then, so a lock is never stale. The file stays; the error message shows the pid in it.
hold_lock() {
    local file=logs/$1.lock
    exec 9>>"$file"
    "$2" -c 'import fcntl; fcntl.flock(9, fcntl.LOCK_EX | fcntl.LOCK_NB)' 2>/dev/null ||
        fail "another scripts/$1.sh is running here (pid $(cat "$file")); run this again when it has ended"
    say "$$" >"$file"
}

# server_pid: prints the pid of the server that start.sh started; fails if that server does not run.
server_pid() {
    local pid
    pid=$(cat "$PID_FILE" 2>/dev/null) || return 1
    is_server "$pid" && say "$pid"
}

# Functions that run while a script has traps must not use $( ), here and in the scripts: if a signal arrives
# while bash 5.2 parses one, the script ends with "unexpected EOF while looking for matching".

# is_server PID: a pid file outlives crashes and reboots, so another process may have its number.
is_server() {
    command_line "$1" | grep -F -- " -m kokoro_trio " >/dev/null
}

# is_alive PID: `kill -0` succeeds for a zombie, and in many containers no process reaps them.
is_alive() {
    command_line "$1" | grep . >/dev/null
}

# command_line PID: prints its words, each with a space after it; nothing if it is dead.
command_line() {
    if [ -d /proc/self ]; then
        tr '\0' ' ' <"/proc/$1/cmdline"
    else
        ps -p "$1" -o args= | sed 's/$/ /'
    fi 2>/dev/null || true
}

# is_ready HOST PORT: succeeds if the server there is ready to speak.
is_ready() {
    "$VENV_PYTHON" - "$1" "$2" 2>/dev/null <<'PYTHON'
import http.client
import sys

connection = http.client.HTTPConnection(sys.argv[1], int(sys.argv[2]), timeout=5)
connection.request("GET", "/readyz")
sys.exit(connection.getresponse().status != 200)
PYTHON
}

# free_address N ARGUMENTS: prints where a server with these arguments listens, as "HOST PORT CLIENTS_HOST
# LOG_MAX_BYTES"; clients on this machine connect to CLIENTS_HOST. Fails if another program uses this port or one
# of the N loopback ports after it.
free_address() {
    "$VENV_PYTHON" - "${0##*/}" "$@" <<'PYTHON'
import argparse
import errno
import socket
import sys

from kokoro_trio.config import KNOWN_KEY_WARNING, Config, reachable_host
from kokoro_trio.errors import StartError


def require_free(host: str, port: int) -> None:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen()
    except OSError as error:
        reason = f"cannot listen on {host} port {port}: {error.strerror}"
        if error.errno == errno.EADDRINUSE:
            reason = (
                f"cannot listen on {host} port {port}: port {port} is in use by another program; stop that, "
                f"or choose another port: bash scripts/{script} --port {port + n_more + 1}"
            )
        sys.exit(f"error: {reason}")


script, n_more = sys.argv[1], int(sys.argv[2])
parser = argparse.ArgumentParser(usage=argparse.SUPPRESS, add_help=False)
parser.add_argument("--host")
parser.add_argument("--port", type=int)
given, _ = parser.parse_known_args(sys.argv[3:])
try:
    config = Config.load(host=given.host, port=given.port)
except StartError as error:
    sys.exit(f"error: {error}")
listen = config.listen
if listen.port == 0:
    sys.exit(f"error: scripts/{script} needs a fixed port: PORT=0 works with python -m kokoro_trio only")
require_free(listen.host, listen.port)
for number in range(1, n_more + 1):
    require_free("127.0.0.1", listen.port + number)
# Replicas do not log this warning, because they listen on loopback addresses.
if n_more and listen.has_known_key:
    print(f"warning: {KNOWN_KEY_WARNING}", file=sys.stderr)
print(listen.host, listen.port, reachable_host(listen.host), config.log.max_bytes)
PYTHON
}

# ended_within SECONDS PID: waits for the end of the server; fails if it does not end in this time.
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
