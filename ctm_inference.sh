#!/usr/bin/env bash
# Captions to sounds. Without arguments: the captions of data/demo_captions.csv, with the small model of this repository.
#
#   bash ctm_inference.sh
#   bash ctm_inference.sh --prompt "glass breaking" --num_steps 4 --output_dir outputs/glass
#
# Sets up .venv on the first run (scripts/setup_env.sh). Arguments are those of `ctm_inference.py --help`.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

CAPTIONS=$root/data/demo_captions.csv # file_name,caption
CHECKPOINT=$root/ckpt/mini            # 2.56 s clips at 16 kHz
OUTPUT_DIR=${OUTPUT_DIR:-$root/outputs/demo} # wavs, spectrograms, manifest.csv

source "$root/scripts/setup_env.sh"
setup_env requirements.txt || exit

if (($#)); then
    exec "$PYTHON" "$root/ctm_inference.py" "$@"
fi

# Steps, sampler and guidance are the checkpoint's own (its model_index.json). Clips that were made already are kept.
# Nothing is fetched from a model hub: the small model and its text encoder are on disk.
export HF_HUB_OFFLINE=1
exec "$PYTHON" "$root/ctm_inference.py" \
    --checkpoint "$CHECKPOINT" \
    --test_file "$CAPTIONS" \
    --output_dir "$OUTPUT_DIR" \
    --batch_size 6 --save_spectrograms --overwrite

# The official files (https://huggingface.co/Sony/soundctm; README.md says how to get them) run with the official flags,
# here with the paper's values:
#   bash ctm_inference.sh \
#       --text_encoder_name google/flan-t5-large \
#       --ctm_unet_model_config configs/full/unet.json \
#       --training_args ckpt/official/soundctm_ckpt/030000/summary.jsonl \
#       --model ckpt/official/soundctm_ckpt/030000/pytorch_model.bin \
#       --ema_model ckpt/official/soundctm_ckpt/030000/ema_0.999_030000.pt \
#       --stage1_ckpt ckpt/official/ckpt/audioldm-s-full.ckpt \
#       --test_file audiocaps/test.csv --output_dir outputs/audiocaps_1step \
#       --sampler deterministic --num_steps 1 --nu 1.0 --omega 3.5
# and for more steps: --num_steps 2 --nu 1.0; --num_steps 4 --nu 1.0; --num_steps 8 --nu 1.5; --num_steps 16 --nu 2.0
