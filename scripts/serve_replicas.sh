#!/usr/bin/env bash
# Runs several servers, the replicas, behind HAProxy in the foreground: one for each GPU, or as many as given,
# which share the cores of the CPU. A replica that ends is started again. Needs the packages that
# scripts/setup.sh installs, and HAProxy: apt-get install haproxy.
#
#   bash scripts/serve_replicas.sh 2               two replicas, on HOST and PORT of the environment or .env
#   bash scripts/serve_replicas.sh 2 --port 9000   replica 1 has port 9001, 2 has 9002, statistics 9003
#   bash scripts/serve_replicas.sh                 one for each GPU
#   bash scripts/serve_replicas.sh --restart       restarts the running replicas, one after the other
#
# SIGTERM or Ctrl-C drains all replicas; a second one skips the grace period. SIGHUP restarts, as --restart does.
# (--restart sends SIGUSR1, because bash ignores SIGHUP under nohup.)
# Environment: START_TIMEOUT_S, the seconds within which a replica must become ready (300).
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=environment.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/environment.sh"

START_TIMEOUT_S=${START_TIMEOUT_S:-300}
FIRST_PAUSE_S=1
LONGEST_PAUSE_S=30
# A replica that ran for this time had no problem at its start, so it is started again after the first pause.
SETTLED_S=60
REPLICAS_PID_FILE=logs/replicas.pid
HAPROXY_CONFIG=logs/haproxy.cfg
# HAProxy cannot rotate its log, so its output goes through a program that does, and that ends with it.
# shellcheck disable=SC2016
RUN_HAPROXY='exec haproxy -db -f "$1" > >(exec "$2" -m kokoro_trio.telemetry.log_file "$3") 2>&1'
# Debian installs haproxy in a folder that is on the PATH of root only.
PATH=$PATH:/usr/sbin:/usr/local/sbin

n_replicas=""
n_gpus=0
cores_each=1
address=()
host=""
port=""
log_max_bytes=""
keepers=()
haproxy_keeper=""
endings=0
restart_is_wanted=""

main() {
    read_arguments "$@"
    [ -x "$VENV_PYTHON" ] || fail "nothing is installed; run: bash scripts/setup.sh"
    command -v haproxy >/dev/null || fail "HAProxy is not installed; on Debian and Ubuntu: apt-get install haproxy"
    choose_n_replicas
    mkdir -p logs
    hold_lock serve_replicas "$VENV_PYTHON"
    # One port for each replica, and one for the statistics of HAProxy.
    read -r host port _ log_max_bytes <<<"$(free_address "$((n_replicas + 1))" ${address[@]+"${address[@]}"})"
    [ -n "$port" ] || exit 1
    write_haproxy_config
    serve
    # bash must not read on in this file, because an update may have replaced it.
    exit
}

read_arguments() {
    while [ $# -gt 0 ]; do
        case "$1" in
        -h | --help) usage && exit ;;
        --restart) ask_for_restart && exit ;;
        --port)
            [ $# -gt 1 ] || fail "--port needs a number"
            address=(--port "$2")
            shift
            ;;
        *[!0-9]* | "" | 0) fail "unknown argument: $1; see bash scripts/serve_replicas.sh --help" ;;
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
    say "The replicas (pid $pid) restart one after the other; their scripts/serve_replicas.sh reports the progress."
}

choose_n_replicas() {
    local cores
    n_gpus=$(nvidia-smi --list-gpus 2>/dev/null | grep -c '^GPU') || n_gpus=0
    n_replicas=${n_replicas:-$n_gpus}
    [ "$n_replicas" -gt 0 ] || fail "no GPU found; give the number of replicas: bash scripts/serve_replicas.sh 2"
    cores=$(env -u OMP_NUM_THREADS nproc 2>/dev/null || getconf _NPROCESSORS_ONLN)
    cores_each=$((cores > n_replicas ? cores / n_replicas : 1))
}

# --- the configuration -------------------------------------------------------------------------

write_haproxy_config() {
    local number
    {
        cat scripts/haproxy.cfg
        for ((number = 1; number <= n_replicas; number++)); do
            say "    server replica-$number 127.0.0.1:$((port + number))"
        done
    } >"$HAPROXY_CONFIG"
    export FRONT_ADDRESS=$host:$port STATS_ADDRESS=127.0.0.1:$((port + n_replicas + 1))
    haproxy -c -q -f "$HAPROXY_CONFIG" || fail "HAProxy rejects $HAPROXY_CONFIG"
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
    # HAProxy ends last, because it connects the clients with the replicas.
    kill -TERM "$haproxy_keeper"
    wait_for "$haproxy_keeper"
    rm -f "$REPLICAS_PID_FILE"
    say "All replicas have ended."
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
    # Names with the prefix win over .env. The replicas cannot share one METRICS_PORT, and only this machine
    # reaches their own ports.
    local settings=("KOKORO_HOST=127.0.0.1" "KOKORO_PORT=$((port + $1))" "KOKORO_METRICS_PORT=0")
    settings+=("KOKORO_LOG_FOLDER=$folder")
    mkdir -p "$folder"
    if [ "$n_gpus" -gt 0 ]; then
        settings+=("KOKORO_DEVICE=${KOKORO_DEVICE:-cuda:$((($1 - 1) % n_gpus))}")
    else
        # More threads than cores would slow all replicas down.
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

# wait_until_serving NUMBER OLD_PID: waits until a process other than OLD_PID is ready and HAProxy uses it.
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

# is_another NUMBER OLD_PID: succeeds if the replica runs in another process.
is_another() {
    local pid=""
    read_pid "$1"
    [ "$pid" != "$2" ]
}

# read_pid NUMBER: sets `pid`.
read_pid() {
    { read -r pid <"logs/replica-$1/server.pid"; } 2>/dev/null || true
}

# is_in_use NUMBER: succeeds if HAProxy sends clients to the replica.
is_in_use() {
    "$VENV_PYTHON" - "$STATS_ADDRESS" "replica-$1" 2>/dev/null <<'PYTHON'
import csv
import sys
from urllib.request import ProxyHandler, build_opener

# ProxyHandler({}) ignores the proxy settings of the environment.
with build_opener(ProxyHandler({})).open(f"http://{sys.argv[1]}/;csv", timeout=5) as answer:
    rows = list(csv.DictReader(answer.read().decode().removeprefix("# ").splitlines()))
sys.exit(not any((row["svname"], row["status"]) == (sys.argv[2], "UP") for row in rows))
PYTHON
}

# One after the other, so that the others can serve all clients. If a replica does not become ready, the replicas
# after it are not restarted.
restart_one_by_one() {
    local number pid=""
    restart_is_wanted=""
    for ((number = 1; number <= n_replicas; number++)); do
        say "Restarting replica-$number."
        read_pid "$number"
        kill -USR1 "${keepers[$number]}"
        if ! wait_until_serving "$number" "$pid"; then
            [ "$endings" -gt 0 ] || say "The restart ends here; the replicas after this one were not restarted."
            return
        fi
    done
    say "All replicas were restarted."
}

# wait_for PIDS: waits for their end; signals interrupt `wait`, and their traps run in between.
wait_for() {
    local pid
    for pid in "$@"; do
        while kill -0 "$pid" 2>/dev/null; do
            wait "$pid" || true
        done
    done
}

# pause SECONDS: unlike `sleep` in the foreground, it lets traps run at once.
pause() {
    sleep "$1" 9>&- &
    wait $! || true
}

# --- one process -------------------------------------------------------------------------------

# keep_running NAME LOG COMMAND: runs in a subshell and starts the command again whenever it ends, after pauses
# that grow. SIGTERM is forwarded and stops this; SIGUSR1 restarts the command once.
keep_running() {
    local name=$1 log=$2 child="" status again_in=$FIRST_PAUSE_S began ends=0 restarts=""
    shift 2
    trap '' INT
    trap forward_end TERM
    trap restart_child USR1
    while true; do
        began=$SECONDS
        # In a session of its own, the command gets no Ctrl-C from the terminal of this script.
        "$VENV_PYTHON" -c 'import os, sys; os.setsid(); os.execvp(sys.argv[1], sys.argv[1:])' \
            "$@" </dev/null >>"$log" 2>&1 9>&- &
        child=$!
        [ "$name" = haproxy ] || say "$child" >"logs/$name/server.pid"
        # A signal may have come before there was a child.
        [ "$ends$restarts" = 0 ] || kill -TERM "$child"
        status=0
        # 2>/dev/null hides bash's message about a killed child.
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

forward_end() {
    ends=$((ends + 1))
    kill -TERM "$child" 2>/dev/null || true
}

restart_child() {
    restarts=yes
    kill -TERM "$child" 2>/dev/null || true
}

[ "${BASH_SOURCE[0]}" != "$0" ] || main "$@"
