"""Quality against time: one checkpoint under many sampling settings, each generated, timed and evaluated.

    python -m soundctm.evaluation.models.sweep --captions data/test_captions.csv --reference_dir outputs/reference

`options` says what is varied, `measure` generates and evaluates, `tables` and `plot` write the results.
"""
