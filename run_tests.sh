#!/usr/bin/env bash
# Style and tests. Arguments go to pytest:
#
#   bash run_tests.sh
#   bash run_tests.sh -m 'not slow' tests/audioldm
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$root"

source scripts/setup_env.sh
setup_env requirements-dev.txt || exit

export HF_HUB_OFFLINE=1 WANDB_MODE=disabled
"$PYTHON" -m ruff check .
"$PYTHON" -m ruff format --check .
exec "$PYTHON" -m pytest "$@"
