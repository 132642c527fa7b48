"""The page of an evaluation: its numbers, what they rest on, which sounds there are, and clips to listen to."""

from __future__ import annotations

import os
from collections.abc import Sequence

import torch

from soundctm.evaluation.extractors import audioset, registry
from soundctm.evaluation.folders.report import Report
from soundctm.evaluation.pages import comparison, document
from soundctm.evaluation.pages.class_shares import class_share_chart, class_shares

ROWS = 12  # of clips on the page
COLUMNS = ("metric", "value", "95 % interval", "real clips", "generated / reference clips", "better", "extractor")


def write_page(
    report: Report,
    reference_dir: str | os.PathLike | None,
    generated_dir: str | os.PathLike,
    path: str | os.PathLike,
    rows: int = ROWS,
) -> None:
    """Write one HTML file that holds everything it shows; `rows` bounds the clips. Raises UserError as `choose`."""
    shown = comparison.choose(reference_dir, generated_dir, rows)
    title = "Evaluation of " + os.path.basename(os.path.abspath(generated_dir))
    document.save_page(
        path,
        title,
        _numbers(report),
        document.bullets(report.notes()),
        *_classes(report),
        document.heading("Clips"),
        *comparison.sections(shown),
    )


def _numbers(report: Report) -> document.Html:
    rows = []
    for result in report.results:
        score = result.score
        rows.append(
            [
                result.metric,
                f"{score.value:z.3f}",
                "" if score.low is None else f"{score.low:z.3f} to {score.high:z.3f}",
                "" if result.real is None else f"{result.real.value:z.3f}",
                f"{score.n_generated} / {score.n_reference}" if score.n_reference else f"{score.n_generated}",
                "lower" if result.lower_is_better else "higher",
                f"{result.extractor}, weights {result.weights_hash[:12]}",
            ]
        )
    return document.table(COLUMNS, rows, row_headings=True)


def _classes(report: Report) -> list[document.Html]:
    """The chart of class shares by the first extractor that knows classes; nothing without one or without reference."""
    used = dict.fromkeys(result.extractor for result in report.results)
    name = next((name for name in used if registry.entry(name).classes), None)
    if name is None or report.generated is None or report.reference is None:
        return []
    reference, generated = (
        class_shares(torch.stack(list(folder.logits(name)))) for folder in (report.reference, report.generated)
    )
    chart = class_share_chart(_class_names(name), reference, generated)
    text = f"The loudest class of each clip, by {name}."
    return [document.heading("Classes"), document.paragraph(text), document.picture(chart, "shares of classes")]


def _class_names(extractor: str) -> Sequence[str]:
    """Most extractors share AudioSet's list, for which no weights have to be read."""
    names = audioset.class_names()
    return names if registry.entry(extractor).classes == len(names) else registry.load_extractor(extractor).class_names
