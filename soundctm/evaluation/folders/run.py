"""A run of `numerical_evaluation.py`: options, report, files."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from soundctm.command import Parser, exit_code, started_as
from soundctm.config import add_arguments, config_from_args, save_config
from soundctm.data.names import shown
from soundctm.evaluation.folders.options import EvaluationOptions
from soundctm.files import ensure_writable

DESCRIPTION = "Scores of generated clips: how far from real ones, how well they fit. docs/evaluation.md explains them."


def parse_options(arguments: Sequence[str], program: str | None = None) -> EvaluationOptions:
    """The options of a command line, of what the user called (`program`).

    Raises UserError; exits on --help and on unknown flags, as argparse does.
    """
    parser = Parser(
        prog=program or started_as("numerical_evaluation.py", "soundctm.evaluation.folders.run"),
        description=DESCRIPTION,
        allow_abbrev=False,
        conflict_handler="resolve",
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


def main(arguments: Sequence[str], program: str | None = None) -> int:
    """Prints the table and writes the report. The exit code is that of `soundctm.command.exit_code`."""
    return exit_code(lambda: run(parse_options(arguments, program)))


def run(options: EvaluationOptions) -> None:
    """What `main` does with its options. Raises UserError."""
    ensure_writable(options.report_path.parent)
    from soundctm.evaluation.folders.evaluate import evaluate  # what the user gave is checked before torch is imported

    report = evaluate(options)
    report.save(options.report_path)
    save_config(options, options.report_path.with_suffix(".yaml"))
    if options.page is not None:
        from soundctm.evaluation.pages.report import write_page  # matplotlib takes a second to import

        write_page(report, options.reference_dir, options.generated_dir, options.page)
    print(report.table())
    print(f"report: {shown(options.report_path)}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
