#!/usr/bin/env bash
# Generates clips of known classes and measures how often a classifier names the right one.
#
#   bash numerical_evaluation.sh
#   bash numerical_evaluation.sh --generated_dir outputs/mine --prompts mine.csv     (arguments of numerical_evaluation.py)
#
# Needs the corpus of real sounds, on which the classifier is fitted: `bash ctm_train.sh corpus` builds it.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

CORPUS=${CORPUS:-$root/data/corpus}    # real clips
PROMPTS=$root/data/class_prompts.csv   # file_name,caption,label
CHECKPOINT=$root/ckpt/mini             # what is evaluated
GENERATED=$root/outputs/class_prompts  # its clips

source "$root/scripts/setup_env.sh"
setup_env requirements-eval.txt || exit

if (($#)); then
    exec "$PYTHON" "$root/numerical_evaluation.py" "$@"
fi

if [[ ! -f $CORPUS/corpus.csv ]]; then
    echo "error: no corpus at $CORPUS; build it with: bash ctm_train.sh corpus (or set CORPUS)" >&2
    exit 2
fi
export HF_HUB_OFFLINE=1
"$PYTHON" "$root/ctm_inference.py" --checkpoint "$CHECKPOINT" --test_file "$PROMPTS" --output_dir "$GENERATED" \
    --num_steps 1 --batch_size 10 --overwrite
exec "$PYTHON" "$root/numerical_evaluation.py" --generated_dir "$GENERATED" --prompts "$PROMPTS" --corpus "$CORPUS"
