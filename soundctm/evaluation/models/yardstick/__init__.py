"""The yardstick of small models: one command, one row, over every label that a classifier can learn.

python -m soundctm.evaluation.models.yardstick --corpus data/corpus --model ckpt/mini --steps 1
"""
