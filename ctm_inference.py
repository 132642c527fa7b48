"""Captions to sounds.

    python ctm_inference.py --prompt "glass breaking" --prompt "a dog barking" --output_dir outputs/two
    python ctm_inference.py --test_file data/demo_captions.csv --num_steps 16 --batch_size 8
    accelerate launch ctm_inference.py --test_file captions.csv --output_dir outputs/all

Writes one wav per caption and sample, manifest.csv with the settings of each, and config.yaml. The same command again
makes only what is not there yet. `--help` lists all options.
"""

import sys

from soundctm.inference.run import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
