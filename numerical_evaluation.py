"""Scores of generated wavs.

    python numerical_evaluation.py --generated_dir outputs/classes --prompts data/class_prompts.csv --corpus data/corpus

`class_accuracy`, the one metric there is so far: how often a classifier that was fitted on real clips alone names the
class that a clip was made for, beside the same number for real clips (soundctm.evaluation.class_accuracy). Writes the
report as JSON. FAD, KL, IS and the CLAP score compare two folders; asking for one of them is an error, not a number.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

METRICS = ("class_accuracy",)
ABSENT = {
    "fad": "the Frechet distance",
    "kl": "the KL divergence",
    "is": "the inception score",
    "clap": "the CLAP score",
}


def main(arguments: list[str]) -> int:
    """Parse, check, call. Exit code 0, or 2 when something given is wrong or asks for what does not exist."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--metric", default="class_accuracy", help=f"one of: {', '.join(METRICS)}")
    parser.add_argument("--generated_dir", nargs="+", required=True, help="folders of generated wavs")
    parser.add_argument("--prompts", help="their CSV: file_name,caption,label (default: data/class_prompts.csv)")
    parser.add_argument("--corpus", default="data/corpus", help="the built corpus, on which the classifier is fitted")
    parser.add_argument("--reference_dir", help="folder of reference wavs; no metric that exists compares with one")
    parser.add_argument("--output", help="JSON report (default: class_accuracy.json in the first --generated_dir)")
    parser.add_argument("--quick", action="store_true", help="without the cross-validation on real clips")
    args = parser.parse_args(arguments)
    if args.metric not in METRICS:
        what = ABSENT.get(args.metric, f"a metric {args.metric!r}")
        return _fail(f"{what} is not available yet; available is {', '.join(METRICS)}")
    if args.reference_dir:
        return _fail(
            f"comparing with a folder of references ({', '.join(ABSENT[m] for m in ('fad', 'kl'))}) is not available "
            "yet; without --reference_dir the class accuracy is measured"
        )
    absent = [folder for folder in args.generated_dir if not Path(folder).is_dir()]
    if absent:
        return _fail(f"no folder of generated wavs at {absent[0]}")

    from soundctm.evaluation.class_accuracy import main as class_accuracy

    output = args.output or str(Path(args.generated_dir[0]) / "class_accuracy.json")
    command = ["--generated", *args.generated_dir, "--corpus", args.corpus, "--output", output]
    command += ["--prompts", args.prompts] if args.prompts else []
    command += ["--quick"] if args.quick else []
    return class_accuracy(command)


def _fail(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
