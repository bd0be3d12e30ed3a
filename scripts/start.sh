#!/usr/bin/env bash
# Installs what is missing, starts the server in the background, waits until it is ready, and saves one spoken
# sentence to hello.wav. If the server already runs, it only speaks the sentence.
#
#   bash scripts/start.sh                 on HOST and PORT of the environment or .env
#   bash scripts/start.sh --port 9000     arguments go to the server: python -m kokoro_trio --help
#
# Environment: START_TIMEOUT_S, the seconds after which a server that is not ready is stopped (300).
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=environment.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/environment.sh"

START_TIMEOUT_S=${START_TIMEOUT_S:-300}
SENTENCE="Hello! This is Kokoro, speaking from your own machine."

host=""
port=""
listens_on=""

main() {
    local pid
    case "${1:-}" in
    -h | --help) usage && return ;;
    esac
    if pid=$(server_pid); then
        join_running_server "$pid" "$@"
    else
        bash scripts/setup.sh
        hold_lock start "$VENV_PYTHON"
        ! server_pid >/dev/null || fail "another scripts/start.sh has started the server meanwhile"
        read -r listens_on port host _ <<<"$(free_address 0 "$@")"
        [ -n "$port" ] || exit 1
        start_server "$@"
    fi
    show_state
    speak
    show_next_commands
}

# join_running_server PID ARGUMENTS
join_running_server() {
    read -r host port listens_on <"$ADDRESS_FILE"
    say "The server already runs (pid $1, $(url))."
    [ $# -eq 1 ] || fail "it keeps the arguments that it was started with; bash scripts/stop.sh ends it"
    wait_until_ready "$1" || fail "the server (pid $1) did not become ready; see $SERVER_LOG"
}

# start_server ARGUMENTS
start_server() {
    local pid log_start
    log_start=$(size_of_log)
    # In a session of its own, the server outlives this terminal and gets no Ctrl-C from it.
    "$VENV_PYTHON" -c 'import os, sys; os.setsid(); os.execv(sys.argv[1], sys.argv[1:])' \
        "$VENV_PYTHON" -m kokoro_trio "$@" </dev/null >>"$SERVER_LOG" 2>&1 9>&- &
    pid=$!
    starting=$pid
    trap give_up INT TERM HUP
    say "$pid" >"$PID_FILE"
    say "$host $port $listens_on" >"$ADDRESS_FILE"
    say "Starting the server (pid $pid, log $SERVER_LOG)."
    if ! wait_until_ready "$pid"; then
        is_alive "$pid" || fail_with_error_of_server "$log_start"
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

# wait_until_ready PID
wait_until_ready() {
    local give_up_at=$((SECONDS + START_TIMEOUT_S)) began=$SECONDS
    until is_ready "$host" "$port"; do
        is_alive "$1" || return 1
        [ "$SECONDS" -lt "$give_up_at" ] || return 1
        sleep 0.3
    done
    say "Ready after $((SECONDS - began)) s."
}

# end_server PID: without a grace period, because a server that is not ready has no sessions.
end_server() {
    kill -TERM "$1" 2>/dev/null || true
    ended_within 10 "$1" || kill -KILL "$1" 2>/dev/null || true
    forget_server
}

# fail_with_error_of_server LOG_START: shows the last error line that the ended server has written.
fail_with_error_of_server() {
    local written reason
    trap - INT TERM HUP
    forget_server
    # The server has rotated its log if that is smaller than before.
    [ "$(size_of_log)" -ge "$1" ] || set -- 0
    written=$(tail -c "+$(($1 + 1))" "$SERVER_LOG")
    reason=$(sed -n 's/^error: //p' <<<"$written" | tail -n 1)
    if [ -z "$reason" ]; then
        tail -n 15 <<<"$written" | sed 's/^/    /' >&2
        reason="the server ended before it was ready; see $SERVER_LOG"
    fi
    fail "$reason"
}

# --- output ------------------------------------------------------------------------------------

url() {
    case "$host" in
    *:*) say "http://[$host]:$port" ;;
    *) say "http://$host:$port" ;;
    esac
}

# show_access: prints the server's address, a link to its page with the API key, and a warning if the key is
# publicly known. Browsers do not send the fragment of a link, so no log contains the key.
show_access() {
    "$VENV_PYTHON" - "$(url)" "$listens_on" "$port" <<'PYTHON'
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

# show_state: prints the server's device and whether early audio is on.
show_state() {
    "$VENV_PYTHON" - "$(url)" <<'PYTHON'
import json
import sys
from urllib.request import ProxyHandler, build_opener

# ProxyHandler({}) ignores the proxy settings of the environment.
with build_opener(ProxyHandler({})).open(f"{sys.argv[1]}/readyz", timeout=10) as answer:
    ready = json.load(answer)
# A running server of an earlier version may not report all fields.
reason = ready.get("device_reason")
not_gpu = f", although this machine has a GPU: {reason}" if reason else ""
print(f"Device: {ready.get('device', 'unknown')}{not_gpu}.")
if "early_audio" in ready:
    print(f"Early audio: {'on' if ready['early_audio'] else 'off'}, {ready['early_audio_reason']}.")
PYTHON
}

speak() {
    say "Speaking: \"$SENTENCE\""
    "$VENV_PYTHON" scripts/client.py --host "$host" --port "$port" --text "$SENTENCE" --out hello.wav ||
        fail "the server runs ($(url)) but did not speak; see $SERVER_LOG"
}

show_next_commands() {
    say
    show_access
    cat <<WAY
Next commands, in $ROOT:
    .venv/bin/python scripts/client.py --host $host --port $port --text "Good morning." --out morning.wav
    bash scripts/tail_bg_logs.sh
    bash scripts/stop.sh
WAY
}

[ "${BASH_SOURCE[0]}" != "$0" ] || main "$@"
