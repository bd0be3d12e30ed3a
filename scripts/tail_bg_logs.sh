#!/usr/bin/env bash
# Follows the log of the server that scripts/start.sh started. Ctrl-C ends this script, not the server.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=environment.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/environment.sh"

[ -e "$SERVER_LOG" ] || fail "there is no log yet; bash scripts/start.sh starts the server"
exec tail -n 100 -F "$SERVER_LOG"
