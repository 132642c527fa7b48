#!/usr/bin/env bash
# The studio: a page in the browser for making, choosing and editing sounds, with the small model of this repository.
#
#   bash studio.sh
#   bash studio.sh --output_dir ~/sounds/film --port 9000
#
# Sets up .venv on the first run (scripts/setup_env.sh). Arguments are those of `soundctm studio --help`.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

source "$root/scripts/setup_env.sh"
setup_env requirements-studio.txt || exit

export PYTHONPATH=$root${PYTHONPATH:+:$PYTHONPATH} # a folder that is named relatively is meant from where one stands
exec "$PYTHON" -m soundctm studio "$@"
