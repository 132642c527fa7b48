"""The scores of published tables: which metric with which extractor, in the order of their papers."""

from __future__ import annotations

PRESETS = {
    # SoundCTM at 16 kHz, numerical_evaluation.py
    "unet": (("fad", "vggish"), ("kl", "passt"), ("kl_sigmoid", "passt"), ("is", "passt")),
    # SoundCTM-DiT at 44.1 kHz, evaluate_metrics.py
    "dit": (
        ("fd", "openl3"),
        ("clap", "clap630k"),
        ("kl_reverse", "passt_windows"),
        ("fd", "clap630k"),
        ("mmd", "clap630k"),
    ),
    # stable-audio-metrics; its CLAP score comes from a model with feature fusion, which reads long clips its own way
    "stable_audio": (("fd", "openl3_stereo"), ("kl_reverse", "passt_windows")),
}
