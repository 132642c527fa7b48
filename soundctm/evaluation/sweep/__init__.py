"""Quality against time: one checkpoint under many sampling settings, each generated, timed and evaluated.

    python -m soundctm.evaluation.sweep --captions data/class_prompts.csv --reference_dir DIR --output_dir outputs/sweep

`options` says what is varied, `measure` generates and evaluates, `tables` and `plot` write the results.
"""
