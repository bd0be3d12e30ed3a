#!/usr/bin/env bash
# Serves with several processes behind HAProxy, in the foreground: one for each GPU, or so many on the
# CPU, which share its cores. One that ends is started again. Needs what scripts/setup.sh installs, and
# HAProxy: apt-get install haproxy.
#
#   bash scripts/serve_replicas.sh 2               two replicas, on HOST and PORT of the environment or .env
#   bash scripts/serve_replicas.sh 2 --port 9000   replica 1 has port 9001, 2 has 9002, statistics 9003
#   bash scripts/serve_replicas.sh                 one for each GPU
#   bash scripts/serve_replicas.sh --restart       restarts those that run, one after the other
#
# SIGTERM (or Ctrl-C) drains them all, and a second one hastens that; SIGHUP is --restart.
# (--restart itself sends SIGUSR1: under nohup, bash never hears of SIGHUP.)
# Environment: START_TIMEOUT_S, how long a replica may take to become ready (300).
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=environment.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/environment.sh"

START_TIMEOUT_S=${START_TIMEOUT_S:-300}
FIRST_PAUSE_S=1
LONGEST_PAUSE_S=30
# A replica that ran so long has not ended because it was started.
SETTLED_S=60
REPLICAS_PID_FILE=logs/replicas.pid
HAPROXY_CONFIG=logs/haproxy.cfg
# HAProxy cannot rotate its log; what it says goes through a program that does, and that ends with it.
# shellcheck disable=SC2016
RUN_HAPROXY='exec haproxy -db -f "$1" > >(exec "$2" -m kokoro_trio.telemetry.log_file "$3") 2>&1'
# Debian's haproxy is where only root looks.
PATH=$PATH:/usr/sbin:/usr/local/sbin

n_replicas=""
n_gpus=0
cores_each=1
given_port=""
host=""
port=""
log_max_bytes=""
keepers=()
haproxy_keeper=""
endings=0
restart_is_wanted=""

main() {
    read_arguments "$@"
    [ -x "$VENV_PYTHON" ] || fail "nothing is installed; bash scripts/setup.sh does that"
    command -v haproxy >/dev/null || fail "HAProxy is not installed; on Debian and Ubuntu: apt-get install haproxy"
    choose_n_replicas
    mkdir -p logs
    hold_lock serve_replicas "$VENV_PYTHON"
    read -r host port log_max_bytes <<<"$(free_ports)"
    [ -n "$port" ] || exit 1
    write_haproxy_config
    serve
    # Here: bash would read on in the file, which an update may have replaced meanwhile.
    exit
}

read_arguments() {
    while [ $# -gt 0 ]; do
        case "$1" in
        -h | --help) usage && exit ;;
        --restart) ask_for_restart && exit ;;
        --port)
            [ $# -gt 1 ] || fail "--port wants a number"
            given_port=$2
            shift
            ;;
        *[!0-9]* | "" | 0) fail "unknown argument: $1 (bash scripts/serve_replicas.sh --help tells)" ;;
        *) n_replicas=$1 ;;
        esac
        shift
    done
}

ask_for_restart() {
    local pid
    pid=$(cat "$REPLICAS_PID_FILE" 2>/dev/null) || fail "scripts/serve_replicas.sh does not run here"
    case "$(command_line "$pid")" in
    *serve_replicas.sh*) kill -USR1 "$pid" ;;
    *) fail "scripts/serve_replicas.sh does not run here" ;;
    esac
    say "Asked the replicas (pid $pid) to restart one after the other; what runs them tells how it goes."
}

choose_n_replicas() {
    local cores
    n_gpus=$(nvidia-smi --list-gpus 2>/dev/null | grep -c '^GPU') || n_gpus=0
    n_replicas=${n_replicas:-$n_gpus}
    [ "$n_replicas" -gt 0 ] || fail "no GPU is there; say how many replicas: bash scripts/serve_replicas.sh 2"
    cores=$(env -u OMP_NUM_THREADS nproc 2>/dev/null || getconf _NPROCESSORS_ONLN)
    cores_each=$((cores > n_replicas ? cores / n_replicas : 1))
}

# --- the configuration -------------------------------------------------------------------------

# free_ports: where it listens, and LOG_MAX_BYTES, as "HOST PORT BYTES"; fails when one of the ports it needs is
# in use.
free_ports() {
    "$VENV_PYTHON" - "$n_replicas" "$given_port" <<'PYTHON'
import socket
import sys

from kokoro_trio.config import KNOWN_KEY_WARNING, Config
from kokoro_trio.errors import StartError

n_replicas, given_port = int(sys.argv[1]), int(sys.argv[2]) if sys.argv[2] else None


def require_free(host: str, port: int) -> None:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen()
    except OSError as error:
        raise SystemExit(f"error: cannot listen on {host} port {port}: {error.strerror}") from error


try:
    config = Config.load(port=given_port)
except StartError as error:
    sys.exit(f"error: {error}")
listen = config.listen
if listen.port == 0:
    sys.exit("error: scripts/serve_replicas.sh must know the port: PORT=0 works for a single server only")
require_free(listen.host, listen.port)
for number in range(1, n_replicas + 2):
    require_free("127.0.0.1", listen.port + number)
# The replicas cannot tell: they listen on loopback addresses.
if listen.has_known_key:
    print(f"warning: {KNOWN_KEY_WARNING}", file=sys.stderr)
print(listen.host, listen.port, config.log.max_bytes)
PYTHON
}

write_haproxy_config() {
    local number
    {
        cat scripts/haproxy.cfg
        for ((number = 1; number <= n_replicas; number++)); do
            say "    server replica-$number 127.0.0.1:$((port + number))"
        done
    } >"$HAPROXY_CONFIG"
    export FRONT_ADDRESS=$host:$port STATS_ADDRESS=127.0.0.1:$((port + n_replicas + 1))
    haproxy -c -q -f "$HAPROXY_CONFIG" || fail "HAProxy does not take $HAPROXY_CONFIG"
}

# --- serving -----------------------------------------------------------------------------------

serve() {
    local number
    trap end_replicas TERM INT
    trap want_restart USR1 HUP
    say "$$" >"$REPLICAS_PID_FILE"
    for ((number = 1; number <= n_replicas && endings == 0; number++)); do
        start_replica "$number"
    done
    keep_running haproxy logs/haproxy.log bash -c "$RUN_HAPROXY" bash \
        "$HAPROXY_CONFIG" "$VENV_PYTHON" "$log_max_bytes" &
    haproxy_keeper=$!
    wait_until_all_serve
    while [ "$endings" -eq 0 ]; do
        [ -z "$restart_is_wanted" ] || restart_one_by_one
        pause 0.5
    done
    say "Draining the replicas."
    wait_for "${keepers[@]}"
    # Last: until here it was the way to the replicas.
    kill -TERM "$haproxy_keeper"
    wait_for "$haproxy_keeper"
    rm -f "$REPLICAS_PID_FILE"
    say "All have ended."
}

end_replicas() {
    local keeper
    endings=$((endings + 1))
    for keeper in ${keepers[@]+"${keepers[@]}"}; do
        kill -TERM "$keeper" 2>/dev/null || true
    done
}

want_restart() {
    restart_is_wanted=yes
}

# start_replica NUMBER
start_replica() {
    local folder=logs/replica-$1
    # With the prefix, which wins over whatever .env has. The replicas cannot share one METRICS_PORT, and only
    # this machine reaches the ports that they have.
    local settings=("KOKORO_HOST=127.0.0.1" "KOKORO_PORT=$((port + $1))" "KOKORO_METRICS_PORT=0")
    settings+=("KOKORO_LOG_FOLDER=$folder")
    mkdir -p "$folder"
    if [ "$n_gpus" -gt 0 ]; then
        settings+=("KOKORO_DEVICE=${KOKORO_DEVICE:-cuda:$((($1 - 1) % n_gpus))}")
    else
        # Threads that wait for a core that another replica has make both slower than fewer would.
        settings+=("OMP_NUM_THREADS=${OMP_NUM_THREADS:-$cores_each}")
    fi
    keep_running "replica-$1" "$folder/server.log" env "${settings[@]}" "$VENV_PYTHON" -m kokoro_trio &
    keepers[$1]=$!
}

wait_until_all_serve() {
    local number began=$SECONDS
    for ((number = 1; number <= n_replicas; number++)); do
        wait_until_serving "$number" "" || break
    done
    [ "$endings" -gt 0 ] || say "Serving on $host port $port after $((SECONDS - began)) s."
}

# wait_until_serving NUMBER OLD_PID: until another process than that one is ready, and HAProxy knows.
wait_until_serving() {
    local give_up_at=$((SECONDS + START_TIMEOUT_S))
    until is_another "$1" "$2" && is_ready 127.0.0.1 "$((port + $1))" && is_in_use "$1"; do
        [ "$endings" -eq 0 ] || return 1
        if [ "$SECONDS" -ge "$give_up_at" ]; then
            say "replica-$1 was not ready after $START_TIMEOUT_S s; see logs/replica-$1/server.log"
            return 1
        fi
        pause 0.3
    done
}

# is_another NUMBER OLD_PID
is_another() {
    local pid=""
    read_pid "$1"
    [ "$pid" != "$2" ]
}

# read_pid NUMBER: into `pid`.
read_pid() {
    { read -r pid <"logs/replica-$1/server.pid"; } 2>/dev/null || true
}

# is_in_use NUMBER: whether HAProxy sends clients to the replica.
is_in_use() {
    "$VENV_PYTHON" - "$STATS_ADDRESS" "replica-$1" <<'PYTHON'
import csv
import sys
from urllib.request import ProxyHandler, build_opener

try:
    # Without the proxy that the environment may name.
    with build_opener(ProxyHandler({})).open(f"http://{sys.argv[1]}/;csv", timeout=5) as answer:
        rows = list(csv.DictReader(answer.read().decode().removeprefix("# ").splitlines()))
except OSError:
    sys.exit(1)
sys.exit(not any((row["svname"], row["status"]) == (sys.argv[2], "UP") for row in rows))
PYTHON
}

# One after the other, so that the others can take all clients; where one does not come back, the rest
# goes on as it is.
restart_one_by_one() {
    local number pid=""
    restart_is_wanted=""
    for ((number = 1; number <= n_replicas; number++)); do
        say "Restarting replica-$number."
        read_pid "$number"
        kill -USR1 "${keepers[$number]}"
        if ! wait_until_serving "$number" "$pid"; then
            [ "$endings" -gt 0 ] || say "The restart ends here; the replicas after it run as before."
            return
        fi
    done
    say "All replicas were restarted."
}

# wait_for PIDS: signals interrupt `wait`, and are dealt with in between.
wait_for() {
    local pid
    for pid in "$@"; do
        while kill -0 "$pid" 2>/dev/null; do
            wait "$pid" || true
        done
    done
}

# pause SECONDS: unlike `sleep` alone, it lets signals through.
pause() {
    sleep "$1" 9>&- &
    wait $! || true
}

# --- one process -------------------------------------------------------------------------------

# keep_running NAME LOG COMMAND: for a subshell. Whenever the command ends it is run again, later each
# time. SIGTERM is handed on and ends that, SIGUSR1 ends the command once.
keep_running() {
    local name=$1 log=$2 child="" status again_in=$FIRST_PAUSE_S began ends=0 restarts=""
    shift 2
    trap '' INT
    trap hand_on_end TERM
    trap hand_on_restart USR1
    while true; do
        began=$SECONDS
        # A session of its own: it hears no Ctrl-C that is meant for this script.
        "$VENV_PYTHON" -c 'import os, sys; os.setsid(); os.execvp(sys.argv[1], sys.argv[1:])' \
            "$@" </dev/null >>"$log" 2>&1 9>&- &
        child=$!
        [ "$name" = haproxy ] || say "$child" >"logs/$name/server.pid"
        # For a signal that came before there was a child.
        [ "$ends$restarts" = 0 ] || kill -TERM "$child"
        status=0
        # Without bash's own words about a child that was killed.
        while wait "$child" 2>/dev/null || status=$?; kill -0 "$child" 2>/dev/null; do
            status=0
        done
        [ "$ends" -eq 0 ] || return 0
        if [ -n "$restarts" ]; then
            restarts="" again_in=$FIRST_PAUSE_S
            continue
        fi
        [ $((SECONDS - began)) -lt "$SETTLED_S" ] || again_in=$FIRST_PAUSE_S
        say "$name ended (status $status) and is started again in $again_in s; see $log"
        pause "$again_in"
        [ "$ends" -eq 0 ] || return 0
        again_in=$((2 * again_in < LONGEST_PAUSE_S ? 2 * again_in : LONGEST_PAUSE_S))
    done
}

hand_on_end() {
    ends=$((ends + 1))
    kill -TERM "$child" 2>/dev/null || true
}

hand_on_restart() {
    restarts=yes
    kill -TERM "$child" 2>/dev/null || true
}

[ "${BASH_SOURCE[0]}" != "$0" ] || main "$@"
