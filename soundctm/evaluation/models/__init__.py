"""Measures of a checkpoint: class accuracy, distance to the teacher, sweeps over settings, the listening page."""
