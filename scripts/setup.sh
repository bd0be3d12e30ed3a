#!/usr/bin/env bash
# Prepares a machine: installs packages in .venv, writes .env, prepares the weights. It can be run again at any
# time: a second run keeps everything and takes seconds.
#
#   bash scripts/setup.sh          the server
#   bash scripts/setup.sh --test   the tests too, with their own weights in weights-test
#   bash scripts/setup.sh --bench  the plots and the speech rating of bench/ too
#   bash scripts/setup.sh --peers  the libraries that bench/bench.py --peer compares with too
#   bash scripts/setup.sh --ja     Japanese too
#   bash scripts/setup.sh --zh     Mandarin too
#   bash scripts/setup.sh --cpu    torch's CPU build: about 1 GB to download, 3 GB of disk
#   bash scripts/setup.sh --cuda   torch's CUDA build for the driver: about 4 GB to download, 12 GB of disk
#
# Options can be combined; later runs add packages and remove none. Without --cpu and --cuda the first run chooses
# torch by the NVIDIA driver, and later runs keep that build.
# Environment: PYTHON is the Python to use; TORCH_INDEX is the URL of an index with torch; KOKORO_WEIGHTS is the
# source of the weights.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=environment.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/environment.sh"

# "DOWNLOAD DISK" in GB. The disk holds the packages (1.7 GB), pip's cache, the weights, and temporary files.
CPU_SIZES="1 3"
# Estimated: torch and CUDA's libraries are 3 GB packed, in pip's cache, and 6 GB unpacked.
CUDA_SIZES="4 12"
UNFINISHED=.venv/unfinished
# "BUILD DEVICE WANTED VERSION" of the installed torch: BUILD as scripts/torch_build.py prints it, DEVICE cpu or
# cuda, WANTED auto, a flag or an index.
TORCH_MARKER=.venv/installed-torch
torch_build=""
torch_index=""
torch_wanted=""

export PIP_USER=0 PIP_NO_INPUT=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_PROGRESS_BAR=off

main() {
    local extras=registry argument python torch=auto
    for argument in "$@"; do
        case "$argument" in
        --test | --bench | --peers | --ja | --zh) extras+=,${argument#--} ;;
        --cpu | --cuda) torch=$argument ;;
        -h | --help) usage && return ;;
        *) fail "unknown argument: $argument; see bash scripts/setup.sh --help" ;;
        esac
    done
    python=$(find_python)
    mkdir -p logs
    hold_lock setup "$python"
    clear_broken_venv
    choose_torch "$python" "${TORCH_INDEX:-$torch}"
    make_venv "$python"
    install_packages "$extras"
    mark_torch "$torch"
    write_env_file "$python"
    prepare_weights "$extras"
}

# --- Python ------------------------------------------------------------------------------------

find_python() {
    local name lacking_venv=""
    for name in ${PYTHON:+"$PYTHON"} python3.12 python3.11 python3 python "$(python_of_uv)"; do
        if is_supported "$name"; then
            if has_venv "$name"; then
                say "$name"
                return
            fi
            lacking_venv=${lacking_venv:-$name}
        fi
        # PYTHON excludes all others.
        [ -z "${PYTHON:-}" ] || break
    done
    [ -z "$lacking_venv" ] ||
        fail "$lacking_venv cannot make virtual environments; on Debian and Ubuntu:" \
            "apt-get install $(version_of "$lacking_venv" 'python%d.%d-venv')"
    if [ -n "${PYTHON:-}" ]; then
        fail "PYTHON=$PYTHON is $(version_or_missing "$PYTHON"); Python 3.11 or 3.12 is needed"
    fi
    fail "Python 3.11 or 3.12 is needed, and python3 is $(version_or_missing python3);" \
        "with uv (https://docs.astral.sh/uv): uv python install 3.12, then" \
        "PYTHON=\$(uv python find 3.12) bash scripts/setup.sh"
}

# python_of_uv: prints a Python that uv has installed already.
python_of_uv() {
    uv python find --system --no-python-downloads '>=3.11,<3.13' 2>/dev/null || true
}

is_supported() {
    "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' >/dev/null 2>&1
}

has_venv() {
    "$1" -c 'import venv, ensurepip' >/dev/null 2>&1
}

# version_of PYTHON FORMAT
version_of() {
    "$1" -c 'import sys; print(sys.argv[1] % sys.version_info[:2])' "$2" 2>/dev/null
}

version_or_missing() {
    version_of "$1" 'Python %d.%d' || say "missing"
}

# --- the environment ---------------------------------------------------------------------------

# Removes a damaged, moved or unfinished .venv that this script made. The marker stays until all packages are
# installed, so that the next run completes an interrupted removal.
clear_broken_venv() {
    [ -e .venv ] || [ -L .venv ] || return 0
    is_our_venv ||
        fail "$ROOT/.venv was not made by scripts/setup.sh, so it is not touched;" \
            "move it away (mv .venv .venv.old), then run this again"
    [ -e "$UNFINISHED" ] || ! venv_works >/dev/null 2>&1 || return 0
    say "The environment in .venv is damaged, moved or unfinished; making a new one."
    touch "$UNFINISHED"
    find .venv/ -mindepth 1 -maxdepth 1 ! -name "${UNFINISHED#.venv/}" -exec rm -rf {} +
}

is_our_venv() {
    local marker
    for marker in "$UNFINISHED" .venv/installed-*; do
        [ ! -e "$marker" ] || return 0
    done
    [ -d .venv ] && [ -z "$(ls -A .venv)" ]
}

make_venv() {
    [ ! -e "$VENV_PYTHON" ] || return 0
    say "Making a Python environment in .venv ($(version_of "$1" 'Python %d.%d'))."
    mkdir -p .venv
    touch "$UNFINISHED"
    # .venv may be a link to another disk; venv accepts only the real path.
    "$1" -m venv "$(cd .venv && pwd -P)" >"$SETUP_LOG" 2>&1 ||
        fail_with_log "$1 could not make a virtual environment in .venv"
}

# venv_works: the programs of an environment contain the path that it was made in.
venv_works() {
    grep -q -F -- "$(cd .venv && pwd -P)" .venv/pyvenv.cfg &&
        is_supported "$VENV_PYTHON" &&
        "$VENV_PYTHON" -c 'import pip'
}

# --- torch -------------------------------------------------------------------------------------

# choose_torch PYTHON WANTED: sets torch_build, torch_index and torch_wanted. "auto" keeps the installed build; if
# constraints.txt has a new version, it repeats the earlier choice.
choose_torch() {
    local device version reason
    torch_wanted=$2
    if [ "$2" = auto ] && [ -e "$TORCH_MARKER" ]; then
        read -r torch_build device torch_wanted version <"$TORCH_MARKER"
        if [ "$version" = "$(torch_pin)" ]; then
            case "$device $torch_wanted" in "cpu auto" | "cpu --cuda") remind_of_gpu "$1" ;; esac
            return
        fi
    fi
    read -r torch_build torch_index reason <<<"$("$1" scripts/torch_build.py "$torch_wanted")"
    [ -n "$torch_build" ] || exit 1
    # The marker must not contain the password of an index.
    [[ $torch_wanted != */* ]] || torch_wanted=$torch_build
    [ "$torch_build" != "$(installed_torch)" ] || return 0
    say "torch: $reason."
    require_disk_space
}

# remind_of_gpu PYTHON: the driver may have been installed after torch.
remind_of_gpu() {
    local cuda
    ! cuda=$("$1" scripts/torch_build.py driver 2>/dev/null) ||
        say "There is an NVIDIA GPU (CUDA $cuda), but torch is the CPU build; bash scripts/setup.sh --cuda replaces it."
}

# installed_torch: prints its build; nothing if its version is not that in constraints.txt.
installed_torch() {
    local build="" version=""
    [ ! -e "$TORCH_MARKER" ] || read -r build _ _ version <"$TORCH_MARKER"
    [ "$version" != "$(torch_pin)" ] || say "$build"
}

torch_pin() {
    sed -n 's/^torch==//p' constraints.txt
}

# require_disk_space: files that are in .venv already count as free space.
require_disk_space() {
    local free taken=0 download_gb needed_gb
    read -r download_gb needed_gb <<<"$(sizes)"
    say "This takes about $download_gb GB of downloads and $needed_gb GB of disk; the server needs 3 GB of memory."
    free=$(df -Pk . | { read -r _ && read -r _ _ _ free _ && say "$free"; })
    [ ! -d .venv ] || taken=$(du -sk .venv/ | cut -f 1)
    [ "$((free + taken))" -ge "$((needed_gb * 1000000))" ] ||
        fail "about $needed_gb GB of free disk space are needed in $ROOT for this build of torch," \
            "$((free / 1000)) MB are free"
}

# sizes: without an index of PyTorch's, pip may find a CUDA build, on Linux only.
sizes() {
    case "$(uname) $torch_wanted $torch_build" in
    *" --cpu "* | *" cpu" | */cpu | [!L]*) say "$CPU_SIZES" ;;
    *) say "$CUDA_SIZES" ;;
    esac
}

# install_torch: replaces another build, together with the libraries that it brought.
install_torch() {
    local replaced version
    [ "$torch_build" != "$(installed_torch)" ] || return 0
    rm -f "$TORCH_MARKER"
    replaced=$("$VENV_PYTHON" -m pip list --format=freeze |
        grep -E -o '^(torch|triton|nvidia-[^=]*|cuda-[^=]*)=' | tr -d =) || true
    [ -z "$replaced" ] || "$VENV_PYTHON" -m pip uninstall -y -r /dev/stdin <<<"$replaced" || return
    [ "$torch_build" != pip ] || return 0
    version=$(torch_pin)
    # The version names the build, so that pip takes it from no other index.
    case "$torch_build" in cpu | cu[0-9]*) version+=+$torch_build ;; esac
    # This index is for torch only; install_packages installs the libraries that torch needs.
    "$VENV_PYTHON" -m pip install --no-deps --index-url "$torch_index" "torch==$version"
}

# mark_torch FLAG
mark_torch() {
    local device
    device=$(torch_device)
    say "$torch_build $device $torch_wanted $(torch_pin)" >"$TORCH_MARKER"
    [ "$1 $device" != "--cuda cpu" ] ||
        fail "pip found the CPU build of torch only; name an index that has CUDA builds:" \
            "TORCH_INDEX=URL bash scripts/setup.sh --cuda"
}

# torch_device: prints cpu or cuda, for which torch is built. It does not import torch, which takes seconds.
torch_device() {
    "$VENV_PYTHON" - <<'PYTHON'
import runpy
from importlib.util import find_spec
from pathlib import Path

[folder] = find_spec("torch").submodule_search_locations
print("cuda" if runpy.run_path(str(Path(folder, "version.py")))["cuda"] else "cpu")
PYTHON
}

# --- packages ----------------------------------------------------------------------------------

# install_packages EXTRAS: installs the versions in constraints.txt. An installed build of torch satisfies the pin;
# without one, pip takes a CPU build of that version if it finds one.
install_packages() {
    local extra
    if are_installed "$1"; then
        say "Packages: up to date."
        return
    fi
    say "Installing packages; this takes some minutes ($SETUP_LOG has the details)."
    touch "$UNFINISHED"
    {
        install_torch &&
            "$VENV_PYTHON" -m pip install -c constraints.txt "torch==$(torch_pin)" -e ".[$1]"
    } >"$SETUP_LOG" 2>&1 || fail_with_log "$(why_pip_failed)"
    for extra in ${1//,/ }; do
        requirements >".venv/installed-$extra"
    done
    rm -f "$UNFINISHED"
}

# are_installed EXTRAS: fails if an extra was installed with other versions.
are_installed() {
    local extra
    [ "$torch_build" = "$(installed_torch)" ] || return 1
    for extra in ${1//,/ }; do
        [ -e ".venv/installed-$extra" ] && [ "$(cat ".venv/installed-$extra")" = "$(requirements)" ] ||
            return 1
    done
}

# requirements: the files that an installation depends on.
requirements() {
    cat pyproject.toml setup.py constraints.txt
}

why_pip_failed() {
    if grep -q 'No space left on device' "$SETUP_LOG"; then
        say "the packages could not be installed: the disk is full"
    elif tail -n 15 "$SETUP_LOG" | grep -q -E 'ConnectionError|NameResolutionError|timed out'; then
        say "the packages could not be installed: the package index cannot be reached"
    else
        say "the packages could not be installed"
    fi
}

fail_with_log() {
    tail -n 15 "$SETUP_LOG" | sed 's/^/    /' >&2
    fail "$1; the whole log is $SETUP_LOG, and bash scripts/setup.sh tries again"
}

# --- settings ----------------------------------------------------------------------------------

# write_env_file PYTHON
write_env_file() {
    local key folder=${KOKORO_HOME:-.}
    [ ! -e "$folder/.env" ] || return 0
    # Hexadecimal: many programs take a key that begins with a hyphen for an option.
    key=$("$1" -c 'import secrets; print(secrets.token_hex(16))')
    # Other users must not read the key, and mv leaves no incomplete file.
    (umask 077 && env_file | sed "s/^API_KEY=\$/&$key/" >logs/env.new)
    mkdir -p "$folder"
    mv logs/env.new "$folder/.env"
    say "Wrote .env with the default settings and a new API key: $key"
}

env_file() {
    cat <<'ENV'
# Settings of kokoro_trio. Variables in the environment win over this file.
# Each name may have the prefix KOKORO_, and then wins over the name without it: other programs export HOST too.
# The commented lines show the defaults.

# Clients must send one of these keys, which commas separate; a second key allows a rotation.
API_KEY=

# Other origins whose web pages may use the server: https://app.example,http://localhost:5173 or *
#ALLOWED_ORIGINS=

#HOST=0.0.0.0
#PORT=8000
# The port of /metrics, which needs no key; 0: PORT.
#METRICS_PORT=0

# The server that scripts/client.py, scripts/warmup.py and the bench connect to. The default port is PORT.
#RUNPOD_TCP_HOST=127.0.0.1
#RUNPOD_TCP_PORT=8000

# auto, cpu, cuda or cuda:N
#KOKORO_DEVICE=auto
#KOKORO_GPU_MEMORY_FRACTION=0.95
# The number format of the vocoder: auto, float32, tf32 or bfloat16
#KOKORO_DTYPE=auto
#KOKORO_CUDA_GRAPHS=0
# The source of the weights: auto, hub, registry or a folder
#KOKORO_WEIGHTS=auto

# The voices that "female" and "male" stand for.
#DEFAULT_VOICE_FEMALE=af_aoede
#DEFAULT_VOICE_MALE=am_michael
# The folder of named blends of voices; the default is custom_voices beside this file.
#CUSTOM_VOICES_FOLDER=

# Utterances that are spoken at a time, utterances that may wait, and the size of one utterance.
#MAX_CONCURRENT_JOBS=4
#QUEUE_MAXSIZE=128
#MAX_UTTERANCE_WORDS=150
#MAX_UTTERANCE_CHARACTERS=10000
# The maximum of characters in one HTTP request.
#MAX_INPUT_CHARACTERS=4096
# If one step of the model takes longer, in seconds: new requests are rejected, then the process ends.
#WATCHDOG_STALLED=30.0
#WATCHDOG_STUCK=120.0
# Processes that turn text into phonemes. auto: a few if there is a GPU and more than four cores; 0: a thread of
# the server.
#G2P_PROCESSES=auto
# Requests and characters that one connection may have outstanding.
#MAX_OUTSTANDING_REQUESTS=1000
#MAX_OUTSTANDING_CHARACTERS=500000

# The first segment of an utterance ends after this number of words (0: no segments), or before at one of these
# marks. TRIM_LEADING_SILENCE=1 removes the silence before the first word.
#FIRST_SEGMENT_MAX_WORDS=2
#FIRST_SEGMENT_BOUNDARIES=.,?!;:
#TRIM_LEADING_SILENCE=1

# How audio is sent.
#STREAM_CHUNK_SECONDS=0.02
#PRIME_STREAM=1
#PRIME_BYTES=512
#WS_FIRST_CHUNK_IMMEDIATE=1
#WS_BUFFER_BYTES=960
#WS_FLUSH_EVERY=1

# Connections: their number, the size of a message, and timeouts in seconds.
#MAX_CONNECTIONS=1000
#MAX_CONNECTIONS_PER_KEY=1000
#WS_MAX_MESSAGE_BYTES=2097152
#WS_SEND_TIMEOUT=3.0
#HTTP_SEND_TIMEOUT=30.0
#HANDSHAKE_TIMEOUT=10.0
#WS_IDLE_TIMEOUT=3600.0
#WS_PING_INTERVAL=20.0
#WS_PING_TIMEOUT=20.0
#SHUTDOWN_GRACE=30.0

# debug, info, warning or error
#LOG_LEVEL=info
#LOG_MAX_BYTES=20000000
#METRICS_MAX_BYTES=50000000
ENV
}

# --- weights -----------------------------------------------------------------------------------

prepare_weights() {
    local arguments=()
    # The tests need the registry's weights, with the export that they were converted from.
    [[ ,$1, != *,test,* ]] ||
        arguments=(--source registry --folder weights-test --keep-source --reuse weights)
    "$VENV_PYTHON" -m kokoro_trio.model.weights ${arguments[@]+"${arguments[@]}"}
}

[ "${BASH_SOURCE[0]}" != "$0" ] || main "$@"
