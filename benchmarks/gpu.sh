#!/usr/bin/env bash
# All measurements of this repository that want a GPU, in about six minutes, into one JSON.
#
#   bash benchmarks/gpu.sh                        # official size on the GPU  -> outputs/gpu/gpu.json
#   bash benchmarks/gpu.sh --cpu                  # the same at a tiny size on a CPU, a test of this script
#   OUT=/somewhere WHEELS=/wheels bash benchmarks/gpu.sh
#
# Needs no weights and no network. Every part has a time limit of its own and writes what it has when it is done; a part
# that fails is named in the JSON with the end of its output, and the others go on. WHEELS: a folder of wheels to install
# first, for machines without network. PYTHON: the interpreter.
set -uo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root" || exit 1
PYTHON=${PYTHON:-python}
OUT=${OUT:-$root/outputs/gpu}
export HF_HUB_OFFLINE=1

case ${1:-} in
    "") device=cuda size=full step_size=full step="" dtype=bf16 batches="1 8 32" steps="1 4 16" repeats=3 dit_batches="1 8" dit_steps="1 4" mini_batches="1 32" mini_steps="1 16" slack=1 ;;
    --cpu) device=cpu size=tiny step_size=tiny step=--cpu dtype=fp32 batches="1 2" steps="1 2" repeats=1 dit_batches=1 dit_steps=1 mini_batches=1 mini_steps=1 slack=4 ;;
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

part() { # name, seconds at most, command...
    local name=$1 limit=$(($2 * slack)) # a CPU may be busy with other things
    shift 2
    echo "== $name (at most $limit s)"
    timeout --kill-after=5 "$limit" "$@" >"$OUT/$name.log" 2>&1
    local code=$?
    echo "$code" >"$OUT/$name.status"
    grep -v '^$' "$OUT/$name.log" | tail -n 12
    if ((code)); then echo "$name ended with $code" >&2; fi
}

inference() { # name, seconds at most, options...
    local name=$1 limit=$2
    shift 2
    part "$name" "$limit" "$PYTHON" -m benchmarks.inference --device "$device" --repeats "$repeats" \
        --write "$OUT/$name.json" "$@"
}

# shellcheck disable=SC2086  # lists of numbers are meant to be split
inference inference_unet 70 --model unet --size "$size" --dtype "$dtype" --batch_sizes $batches --steps $steps
# shellcheck disable=SC2086
inference inference_unet_compiled 90 --model unet --size "$size" --dtype "$dtype" --batch_sizes ${batches%% *} --steps 1 \
    $([[ $device == cuda ]] && echo --compile)
# shellcheck disable=SC2086
inference inference_dit 90 --model dit --size "$size" --dtype "$dtype" --batch_sizes $dit_batches --steps $dit_steps
# shellcheck disable=SC2086
inference inference_mini 25 --model mini --dtype "$dtype" --batch_sizes $mini_batches --steps $mini_steps
# shellcheck disable=SC2086
part train_step 80 "$PYTHON" -m benchmarks.train_step --size "$step_size" --repeats "$repeats" $step
part evaluation 25 "$PYTHON" -m benchmarks.evaluation --clips 20 --runs 1

"$PYTHON" -m benchmarks.machine --join "$OUT" "$OUT/gpu.json" || exit 1
echo "written: $OUT/gpu.json"
failed=$(grep -Lx 0 "$OUT"/*.status || true)
for file in $failed; do echo "ended with an error or too late: $(basename "$file" .status)" >&2; done
[[ -z $failed ]]
