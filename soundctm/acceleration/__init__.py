"""The same computation in less time: memory formats, CUDA graphs, compiled blocks."""

from soundctm.acceleration.compiling import MODES, Compiled, compile_pipeline
from soundctm.acceleration.graphs import Graphed, Graphs
from soundctm.acceleration.layout import lay_out

__all__ = ["MODES", "Compiled", "Graphed", "Graphs", "compile_pipeline", "lay_out"]
