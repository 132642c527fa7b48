#!/usr/bin/env bash
# Training. Every part goes on from its latest checkpoint when the same command is given again.
#
#   bash ctm_train.sh             the small student, distilled from the teacher of ckpt/mini (or of exp/, if one is there)
#                                 on the corpus that is there; where there is none, a part of it is fetched (110 MB)
#   bash ctm_train.sh all         all of the small model: VAE, vocoder, teacher, student; hours on a CPU
#   bash ctm_train.sh dit         a small transformer on the same latents, teacher and student
#   bash ctm_train.sh corpus      only the sounds it learns from, out of Debian packages (about 3.4 GB are fetched)
#   bash ctm_train.sh vae ...     arguments of ctm_train.py: `bash ctm_train.sh distill --help`
#
# LAUNCH runs a training on several GPUs: LAUNCH="accelerate launch --config_file configs/accelerate/multi_gpu.yaml"
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

export CORPUS=${CORPUS:-$root/data/corpus} # built on first use
OUTPUT=${OUTPUT:-exp}                      # trainings, one folder per part, below the checkout

source "$root/scripts/setup_env.sh"
setup_env requirements.txt || exit

# Enough sounds to try a training.
PART=(gcompris-qt-data lmms-common minetest-data openttd-opensfx scratch ufoai-sound)

build_part() {
    if [[ -f $CORPUS/corpus.csv ]]; then return; fi
    mkdir -p "$CORPUS"
    : >"$CORPUS/.building" # the rest is still to come
    echo "building a part of the corpus in $CORPUS; 'bash ctm_train.sh corpus' builds the rest" >&2
    (cd "$root" && "$PYTHON" -m soundctm.data.build_corpus --output_dir "$CORPUS" --packages "${PART[@]}")
}

build_corpus() {
    # The file .building says that a build did not end; the command goes on where it was.
    if [[ -f $CORPUS/corpus.csv && ! -e $CORPUS/.building ]]; then return; fi
    mkdir -p "$CORPUS"
    : >"$CORPUS/.building"
    echo "building the corpus in $CORPUS" >&2
    (cd "$root" && "$PYTHON" -m soundctm.data.build_corpus --output_dir "$CORPUS") || return
    rm "$CORPUS/.building"
}

train() {
    local launch=("$PYTHON")
    if [[ -n ${LAUNCH:-} ]]; then
        read -ra launch <<<"$LAUNCH"
        # `accelerate` of the environment in use
        launch=("$PYTHON" -m accelerate.commands.accelerate_cli "${launch[@]:1}")
    fi
    "${launch[@]}" "$root/ctm_train.py" "$@"
}

case ${1:-distill-mini} in
corpus)
    build_corpus
    ;;
all)
    build_corpus
    cd "$root"
    train patches --config configs/mini/patches.yaml --corpus "$CORPUS" --output_dir "$OUTPUT/patches"
    train vocoder --config configs/mini/vocoder.yaml --corpus "$CORPUS" --vae "$OUTPUT/patches/codec" --output_dir "$OUTPUT/vocoder"
    train teacher --config configs/mini/teacher.yaml --corpus "$CORPUS" --codec "$OUTPUT/vocoder/codec" \
        --output_dir "$OUTPUT/teacher"
    train distill --config configs/mini/distill.yaml --corpus "$CORPUS" --codec "$OUTPUT/vocoder/codec" \
        --teacher "$OUTPUT/teacher/teacher" --output_dir "$OUTPUT/distill"
    ;;
dit)
    build_part
    cd "$root"
    train teacher --config configs/mini-dit/teacher.yaml --corpus "$CORPUS" --output_dir "$OUTPUT/dit-teacher"
    train distill --config configs/mini-dit/distill.yaml --corpus "$CORPUS" --teacher "$OUTPUT/dit-teacher/teacher" \
        --output_dir "$OUTPUT/dit-distill"
    ;;
distill-mini)
    build_part
    cd "$root"
    codec=$OUTPUT/vocoder/codec teacher=$OUTPUT/teacher/teacher
    if [[ ! -f $codec/config.json || ! -f $teacher/config.json ]]; then codec=ckpt/mini/codec teacher=ckpt/mini/teacher; fi
    # Few items, few trajectories and early checkpoints: something is there to listen to after minutes.
    train distill --config configs/mini/distill.yaml --corpus "$CORPUS" --codec "$codec" --teacher "$teacher" \
        --output_dir "$OUTPUT/distill" --items 1500 --trajectories 320 --validation_every 50 --checkpointing_steps 50 \
        --export_early true
    ;;
*)
    train "$@"
    ;;
esac

# The paper's run, on 8 GPUs (6 clips and 2 mixtures each; docs/training.md has the steps before it). CODEC and TEACHER
# are folders of the full-size parts, which `python -m soundctm.checkpoints.convert to-folder` writes from the official
# files:
#
#   LAUNCH="accelerate launch --config_file configs/accelerate/multi_gpu.yaml" bash ctm_train.sh distill \
#       --codec CODEC --teacher TEACHER --text_encoder_name google/flan-t5-large \
#       --train_file data/train.csv --audio_dir AUDIO --mix_share 0.25 \
#       --per_device_train_batch_size 8 --lr 8e-5 --total_training_steps 30000 --mixed_precision bf16 \
#       --loss_type feature_space --match_point zs --unet_mode full --w_min 2.0 --w_max 5.0 \
#       --start_scales 40 --num_heun_step 39 --heun_step_strategy weighted --diffusion_training true \
#       --start_ema 0.999 --uncond_prob 0.1 --model_grad_clip_value 1000 --output_dir exp/full
