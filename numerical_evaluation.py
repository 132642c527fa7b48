"""Scores of generated clips: FAD, KL, inception score, CLAP score, class accuracy.

    python numerical_evaluation.py --reference_dir outputs/reference --generated_dir outputs/test_clips
    python numerical_evaluation.py --reference_dir audiocaps/test --generated_dir made --extractors vggish,passt \\
        --weights vggish=vggish-10086976.pth
    python numerical_evaluation.py --generated_dir outputs/classes --metrics class_accuracy --corpus data/corpus

Prints a table and writes one JSON line per metric to GENERATED_DIR.evaluation.jsonl, with the options beside it.
Features are kept in FOLDER.features beside each folder. `--help` lists all options, docs/evaluation.md says what the
numbers mean.
"""

import sys

from soundctm.evaluation.folders.run import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
