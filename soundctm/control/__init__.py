"""Control without training: a sound that follows a curve of loudness, brightness, onsets, or a measure of one's own.

control = Control(Objective(intensity, Curve(((0.0, -50.0), (2.5, -20.0)))), method="noise")
out = pipe("rain on a roof", control=control)
"""

from soundctm.control.control import METHODS, Control
from soundctm.control.measures import MEASURES, UNITS, Measure, centroid, intensity, onsets
from soundctm.control.objective import Objective
from soundctm.control.sound import Sound
from soundctm.control.targets import SHAPES, Curve, onset_times, read_curve, shape

__all__ = [
    "MEASURES", "METHODS", "SHAPES", "UNITS", "Control", "Curve", "Measure", "Objective", "Sound", "centroid",
    "intensity", "onset_times", "onsets", "read_curve", "shape",
]  # fmt: skip
