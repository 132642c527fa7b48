"""Train the parts of SoundCTM: `vae` or `patches`, `vocoder`, `teacher`, and `distill`, meant when none is named.

    python ctm_train.py teacher --config configs/mini/teacher.yaml
    accelerate launch ctm_train.py --config configs/mini/distill.yaml --output_dir exp/distill

Every part shows progress, writes checkpoints and goes on from the latest one when started again.
"""

import sys

from soundctm.training.run import PARTS, main, show_messages

__all__ = ["PARTS", "main"]

if __name__ == "__main__":
    show_messages()
    sys.exit(main(sys.argv[1:]))
