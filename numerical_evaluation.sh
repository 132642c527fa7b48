#!/usr/bin/env bash
# Scores of the small model, FAD, KL and inception score with YAMNet, against real test clips: without arguments, 100
# clips are generated (those that are there are kept) and compared with 100 real ones of the corpus.
#
#   bash numerical_evaluation.sh
#   bash numerical_evaluation.sh --reference_dir real --generated_dir made     (arguments of numerical_evaluation.py)
#
# Sets up .venv on the first run (scripts/setup_env.sh). The corpus of real sounds: `bash ctm_train.sh corpus` builds it.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

CORPUS=${CORPUS:-$root/data/corpus}       # real sounds
CAPTIONS=$root/data/test_captions.csv     # file_name,caption,label,clip: 100 items of the test split
CHECKPOINT=${CHECKPOINT:-$root/ckpt/mini} # what is evaluated
OUTPUT_DIR=${OUTPUT_DIR:-$root/outputs}   # its clips in test_clips, the real ones in reference
NUM_STEPS=${NUM_STEPS:-}                  # network calls per clip; the checkpoint's own if empty

source "$root/scripts/setup_env.sh"
setup_env requirements-eval.txt || exit

if (($#)); then
    exec "$PYTHON" "$root/numerical_evaluation.py" "$@"
fi

export HF_HUB_OFFLINE=1 # all of the small model is on disk
generated=$OUTPUT_DIR/test_clips
"$PYTHON" "$root/ctm_inference.py" --checkpoint "$CHECKPOINT" --test_file "$CAPTIONS" --output_dir "$generated" \
    ${NUM_STEPS:+--num_steps "$NUM_STEPS"} --batch_size 10 --overwrite --keep_silent

if [[ ! -f $CORPUS/corpus.csv ]]; then
    echo "no corpus of real sounds at $CORPUS, so no FAD and no KL; get it with: bash ctm_train.sh corpus" >&2
    exec "$PYTHON" "$root/numerical_evaluation.py" --generated_dir "$generated" --metrics is
fi
PYTHONPATH=$root${PYTHONPATH:+:$PYTHONPATH} "$PYTHON" -m soundctm.evaluation.models.reference_clips \
    --corpus "$CORPUS" --captions "$CAPTIONS" --output_dir "$OUTPUT_DIR/reference"
exec "$PYTHON" "$root/numerical_evaluation.py" --reference_dir "$OUTPUT_DIR/reference" --generated_dir "$generated"
