#!/usr/bin/env bash
# All measurements of this repository that want a GPU, in little more than three minutes, into one JSON.
#
#   bash benchmarks/gpu.sh                        # official size on the GPU  -> outputs/gpu/gpu.json
#   bash benchmarks/gpu.sh --cpu                  # the same at a tiny size on a CPU, a test of this script
#   OUT=/somewhere WHEELS=/wheels SECONDS_AT_MOST=240 bash benchmarks/gpu.sh
#
# Needs no weights, no network, no tests/ and no docs/. The most wanted part comes first. Every part has a time limit of
# its own, less where SECONDS_AT_MOST leaves less, and writes every row as soon as it is measured: what runs out of time
# keeps what it has. A part that fails is named in the JSON with the end of its output, and the others go on. gpu.json is
# joined anew after every part. WHEELS: a folder of wheels to install first, for machines without network. PYTHON: the
# interpreter. PARTS: only these, of unet train dit mini inductor inductor32.
set -uo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root" || exit 1
PYTHON=${PYTHON:-python}
OUT=${OUT:-$root/outputs/gpu}
PARTS=${PARTS:-unet train dit mini inductor inductor32}
export HF_HUB_OFFLINE=1

case ${1:-} in
    "") device=cuda size=full step_size=full step="--official_repeats 1 --compare_steps 1" dtype=bf16 batches="1 8 32" steps="1 4 16" repeats=3 dit_batches="1 8" dit_steps="1 4" mini_batches="1 32" mini_steps="1 16" slack=1 most=${SECONDS_AT_MOST:-200} ;;
    --cpu) device=cpu size=tiny step_size=tiny step=--cpu dtype=fp32 batches="1 2" steps="1 2" repeats=1 dit_batches=1 dit_steps=1 mini_batches=1 mini_steps=1 slack=4 most=${SECONDS_AT_MOST:-900} ;;
    *) echo "usage: bash benchmarks/gpu.sh [--cpu]" >&2; exit 2 ;;
esac

if [[ -n ${WHEELS:-} ]]; then
    "$PYTHON" -m pip install --quiet --no-index --no-deps "$WHEELS"/*.whl || exit 1
fi
if [[ $device == cuda ]] && ! "$PYTHON" -c "import sys, torch; sys.exit(not torch.cuda.is_available())"; then
    echo "no GPU that torch can use; --cpu tests this script without one" >&2
    exit 2
fi
mkdir -p "$OUT" || exit 1
rm -f "$OUT"/*.json "$OUT"/*.log "$OUT"/*.status

part() { # name, seconds at most, command...; with LEAST seconds or it is not begun
    local name=$1 limit=$(($2 * slack)) left=$((most - SECONDS)) began=$SECONDS # a CPU may be busy with other things
    shift 2
    [[ " $PARTS " == *" $name "* ]] || return 0
    if ((limit > left)); then limit=$left; fi
    if ((limit < ${LEAST:-10})); then
        echo "== $name: no time left"
        echo "not begun" >"$OUT/$name.status"
        return 0
    fi
    echo "== $name (at most $limit s)"
    timeout --kill-after=5 "$limit" "$@" >"$OUT/$name.log" 2>&1
    local code=$?
    echo "$code" >"$OUT/$name.status"
    grep -v '^$' "$OUT/$name.log" | tail -n 40 | cut -c 1-400
    echo "   $((SECONDS - began)) s"
    if ((code)); then echo "$name ended with $code" >&2; fi
    "$PYTHON" -m benchmarks.machine --join "$OUT" "$OUT/gpu.json"
}

inference() { # name, seconds at most, options...
    local name=$1 limit=$2
    shift 2
    part "$name" "$limit" "$PYTHON" -m benchmarks.inference --device "$device" --dtype "$dtype" --write "$OUT/$name.json" \
        --official_steps 1 --official_repeats 1 "$@"
}

# shellcheck disable=SC2086  # lists of numbers are meant to be split
inference unet 80 --model unet --size "$size" --batch_sizes $batches --steps $steps --repeats "$repeats" --modes eager graphs
# shellcheck disable=SC2086
part train 75 "$PYTHON" -m benchmarks.train_step --size "$step_size" --repeats "$repeats" --write "$OUT/train.json" \
    --solvers heun multistep --graph_teacher --teacher_weights bfloat16 $step
# shellcheck disable=SC2086
inference dit 40 --model dit --size "$size" --batch_sizes $dit_batches --steps $dit_steps --repeats 2 --modes eager graphs
# shellcheck disable=SC2086
inference mini 25 --model mini --batch_sizes $mini_batches --steps $mini_steps --repeats 2 --modes eager graphs
# Compiling takes most of this one's time.
if [[ $device == cuda ]]; then
    for clips in 1 32; do
        [[ $clips == 1 ]] && name=inductor || name=inductor$clips
        LEAST=45 inference "$name" 80 --model unet --size "$size" --batch_sizes $clips --steps 1 --repeats "$repeats" \
            --modes inductor
    done
fi

echo "written: $OUT/gpu.json"
failed=$(grep -Lx 0 "$OUT"/*.status || true)
for file in $failed; do echo "ended with an error or too late: $(basename "$file" .status)" >&2; done
[[ -z $failed ]]
