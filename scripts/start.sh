#!/usr/bin/env bash
# Sets up what is missing, starts the server in the background, waits until it is ready and lets it
# speak one sentence into hello.wav. When it already runs, it only speaks.
#
#   bash scripts/start.sh                 on HOST and PORT of the environment or .env
#   bash scripts/start.sh --port 9000     arguments go to the server: python -m kokoro_trio --help
#
# Environment: START_TIMEOUT_S, how long it may take to become ready (300).
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=environment.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/environment.sh"

START_TIMEOUT_S=${START_TIMEOUT_S:-300}
SENTENCE="Hello! This is Kokoro, speaking from your own machine."

main() {
    local pid address
    case "${1:-}" in
    -h | --help) usage && return ;;
    esac
    if pid=$(server_pid); then
        join_running_server "$pid" "$@"
    else
        bash scripts/setup.sh
        hold_lock start "$VENV_PYTHON"
        ! server_pid >/dev/null || fail "another scripts/start.sh has started the server meanwhile"
        address=$(free_address "$@")
        start_server "$address" "$@"
    fi
    show_state
    speak
    show_the_way
}

# join_running_server PID ARGUMENTS
join_running_server() {
    say "The server already runs (pid $1, $(url))."
    [ $# -eq 1 ] || fail "it keeps the arguments it was started with; bash scripts/stop.sh ends it"
    wait_until_ready "$1" || fail "the server (pid $1) did not become ready; see $SERVER_LOG"
}

# start_server ADDRESS ARGUMENTS
start_server() {
    local address=$1 pid log_start
    shift
    log_start=$(size_of_log)
    # A session of its own: the server outlives this terminal and hears no Ctrl-C meant for it.
    "$VENV_PYTHON" -c 'import os, sys; os.setsid(); os.execv(sys.argv[1], sys.argv[1:])' \
        "$VENV_PYTHON" -m kokoro_trio "$@" </dev/null >>"$SERVER_LOG" 2>&1 9>&- &
    pid=$!
    starting=$pid
    trap give_up INT TERM HUP
    say "$pid" >"$PID_FILE"
    say "$address" >"$ADDRESS_FILE"
    say "Starting the server (pid $pid, log $SERVER_LOG)."
    if ! wait_until_ready "$pid"; then
        is_alive "$pid" || fail_with_last_words "$log_start"
        end_server "$pid"
        fail "the server was not ready after $START_TIMEOUT_S s and was stopped; see $SERVER_LOG"
    fi
    trap - INT TERM HUP
}

give_up() {
    end_server "$starting"
    exit 130
}

size_of_log() {
    if [ -e "$SERVER_LOG" ]; then
        wc -c <"$SERVER_LOG" | tr -d ' '
    else
        say 0
    fi
}

wait_until_ready() {
    local give_up_at=$((SECONDS + START_TIMEOUT_S)) began=$SECONDS host port
    read -r host port _ <"$ADDRESS_FILE"
    until is_ready "$host" "$port"; do
        is_alive "$1" || return 1
        [ "$SECONDS" -lt "$give_up_at" ] || return 1
        sleep 0.3
    done
    say "Ready after $((SECONDS - began)) s."
}

# Before the server is ready it has no sessions, so it needs no grace period.
end_server() {
    kill -TERM "$1" 2>/dev/null || true
    ended_within 10 "$1" || kill -KILL "$1" 2>/dev/null || true
    forget_server
}

# fail_with_last_words LOG_START: the server ended, and its own error line says why.
fail_with_last_words() {
    local written reason
    trap - INT TERM HUP
    forget_server
    # A smaller one is a new one: the server has rotated its log.
    [ "$(size_of_log)" -ge "$1" ] || set -- 0
    written=$(tail -c "+$(($1 + 1))" "$SERVER_LOG")
    reason=$(sed -n 's/^error: //p' <<<"$written" | tail -n 1)
    if [ -z "$reason" ]; then
        tail -n 15 <<<"$written" | sed 's/^/    /' >&2
        reason="the server ended before it was ready; see $SERVER_LOG"
    fi
    fail "$reason"
}

# --- where it listens --------------------------------------------------------------------------

# free_address ARGUMENTS: where a client of this machine reaches the server that these arguments
# start, and the host that it listens on, as "HOST PORT LISTENS_ON"; fails when another program has the port.
free_address() {
    "$VENV_PYTHON" - "$@" <<'PYTHON'
import argparse
import errno
import socket
import sys

from kokoro_trio.config import Config, reachable_host
from kokoro_trio.errors import StartError


def free_address() -> str:
    parser = argparse.ArgumentParser(prog="scripts/start.sh", usage=argparse.SUPPRESS, add_help=False)
    parser.add_argument("--host")
    parser.add_argument("--port", type=int)
    given, _ = parser.parse_known_args()
    listen = Config.load(host=given.host, port=given.port).listen
    if listen.port == 0:
        raise SystemExit("error: scripts/start.sh must know the port: PORT=0 works in the foreground only")
    require_free(listen.host, listen.port)
    return f"{reachable_host(listen.host)} {listen.port} {listen.host}"


def require_free(host: str, port: int) -> None:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen()
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise SystemExit(f"error: cannot listen on {host} port {port}: {error.strerror}") from error
        raise SystemExit(
            f"error: port {port} is in use by another program; stop that, or choose another port: "
            f"bash scripts/start.sh --port {port + 1}"
        ) from error


try:
    print(free_address())
except StartError as error:
    sys.exit(f"error: {error}")
PYTHON
}

host() {
    cut -d ' ' -f 1 "$ADDRESS_FILE"
}

port() {
    cut -d ' ' -f 2 "$ADDRESS_FILE"
}

listens_on() {
    cut -d ' ' -f 3 "$ADDRESS_FILE"
}

url() {
    case "$(host)" in
    *:*) say "http://[$(host)]:$(port)" ;;
    *) say "http://$(host):$(port)" ;;
    esac
}

# show_access: the address that the server listens on, a link to its page with the key, and a warning where
# the key is no secret. A browser sends no fragment, so the key of the link stays out of every log.
show_access() {
    "$VENV_PYTHON" - "$(url)" "$(listens_on)" "$(port)" <<'PYTHON'
import sys
from urllib.parse import quote

from kokoro_trio.config import KNOWN_KEY_WARNING, Config
from kokoro_trio.errors import StartError

url, host, port = sys.argv[1:]
try:
    listen = Config.load(host=host, port=int(port)).listen
except StartError as error:
    sys.exit(f"error: {error}")
shown_host = f"[{listen.host}]" if ":" in listen.host else listen.host
if listen.is_local:
    reach = "this machine only"
else:
    reach = "all interfaces" if listen.host in ("0.0.0.0", "::") else "other machines can reach it"
print(f"Listening on {shown_host}:{port} ({reach}).")
if listen.api_keys:
    print(f"To hear it, open this link, which holds the API key: {url}/#key={quote(listen.api_keys[0], safe='')}")
else:
    print(f"To hear it, open {url}/")
if listen.has_known_key:
    print(f"warning: {KNOWN_KEY_WARNING}", file=sys.stderr)
PYTHON
}

# show_state: what the server runs on, and whether its first audio comes early.
show_state() {
    "$VENV_PYTHON" - "$(url)" <<'PYTHON'
import json
import sys
from urllib.request import ProxyHandler, build_opener

# Without the proxy that the environment may name.
with build_opener(ProxyHandler({})).open(f"{sys.argv[1]}/readyz", timeout=10) as answer:
    ready = json.load(answer)
# A server that was started by an earlier version says less.
reason = ready.get("device_reason")
not_gpu = f", although this machine has a GPU: {reason}" if reason else ""
print(f"Device: {ready.get('device', 'unknown')}{not_gpu}.")
if "early_audio" in ready:
    print(f"Early audio: {'on' if ready['early_audio'] else 'off'}, {ready['early_audio_reason']}.")
PYTHON
}

# --- the first words ---------------------------------------------------------------------------

speak() {
    say "Speaking: \"$SENTENCE\""
    "$VENV_PYTHON" scripts/client.py --host "$(host)" --port "$(port)" --text "$SENTENCE" --out hello.wav ||
        fail "the server runs ($(url)) but did not speak; see $SERVER_LOG"
}

show_the_way() {
    say
    show_access
    cat <<WAY
How to go on, in $ROOT:
    .venv/bin/python scripts/client.py --host $(host) --port $(port) --text "Good morning." --out morning.wav
    bash scripts/tail_bg_logs.sh
    bash scripts/stop.sh
WAY
}

[ "${BASH_SOURCE[0]}" != "$0" ] || main "$@"
