"""A run of `numerical_evaluation.py`: options, report, files."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence

from soundctm.config import add_arguments, config_from_args, save_config
from soundctm.errors import UserError
from soundctm.evaluation.options import EvaluationOptions
from soundctm.inference.output import ensure_writable

DESCRIPTION = "Scores of generated clips: how far from real ones, how well they fit. docs/evaluation.md explains them."


def parse_options(arguments: Sequence[str]) -> EvaluationOptions:
    """The options of a command line. Raises UserError; exits on --help and on unknown flags, as argparse does."""
    parser = argparse.ArgumentParser(
        prog="numerical_evaluation.py", description=DESCRIPTION, allow_abbrev=False, conflict_handler="resolve"
    )
    add_arguments(parser, EvaluationOptions)
    # A path may contain spaces and commas, and there may be several: not a list in one value.
    parser.add_argument(
        "--weights",
        action="append",
        default=argparse.SUPPRESS,
        metavar="NAME=PATH",
        help="an extractor's weights: a file, a folder or a hub id; repeatable",
    )
    return config_from_args(EvaluationOptions, parser.parse_args(arguments))


def main(arguments: Sequence[str]) -> int:
    """Prints the table and writes the report. Exit code: 0, 2 when something given is wrong, 130 when interrupted."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    for noisy in ("httpx", "huggingface_hub", "transformers"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    try:
        options = parse_options(arguments)
        ensure_writable(options.report_path.parent)
        from soundctm.evaluation.evaluate import evaluate  # what the user gave is checked before torch is imported

        report = evaluate(options)
        report.save(options.report_path)
        save_config(options, options.report_path.with_suffix(".yaml"))
        if options.page is not None:
            from soundctm.evaluation.pages.report import write_page  # matplotlib takes a second to import

            write_page(report, options.reference_dir, options.generated_dir, options.page)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    print(report.table())
    print(f"report: {options.report_path}")
    return 0
