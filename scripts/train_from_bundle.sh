#!/usr/bin/env bash
# Teacher or student from a bundle for some minutes, then what is of worth in parts that fit through a narrow door.
#
#   bash scripts/train_from_bundle.sh teacher 7 back        # minutes, folder for the parts
#   bash scripts/train_from_bundle.sh distill 5 back        # from exp/bundle-teacher/teacher
#
# Further flags go to ctm_train.py. A run that fails still leaves what its last validation wrote.
set -u
cd "$(dirname "$0")/.."
PART=$1 MINUTES=$2 BACK=$3
shift 3
BUNDLE=${BUNDLE:-exp/bundle.safetensors}         # python -m soundctm.data.bundle make
TEACHER=${TEACHER:-exp/bundle-teacher/teacher}   # of a distillation
PYTHON=${PYTHON:-python}
PIECE=${PIECE:-15M}                              # largest part
RUN=exp/bundle-$PART
mkdir -p "$BACK"

GIVEN=(--config "configs/mini/${PART}_gpu.yaml" --bundle "$BUNDLE" --max_minutes "$MINUTES" --output_dir "$RUN")
if [ "$PART" = distill ]; then GIVEN+=(--teacher "$TEACHER"); fi
"$PYTHON" ctm_train.py "$PART" "${GIVEN[@]}" "$@"
CODE=$?

RESULT=teacher
if [ "$PART" = distill ]; then RESULT=model; fi
tar -cf - -C "$RUN" "$RESULT" log.jsonl | split -b "$PIECE" - "$BACK/$PART.tar."
echo "exit code $CODE; together again by: cat $BACK/$PART.tar.* | tar -x"
exit $CODE
