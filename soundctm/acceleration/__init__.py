"""The same computation in less time: number formats, memory, memory formats, CUDA graphs, compiled blocks."""

from soundctm.acceleration.compiling import MODES, Compiled, compile_pipeline
from soundctm.acceleration.eight_bit import use_int8
from soundctm.acceleration.eight_bit import why_not as why_no_int8
from soundctm.acceleration.graphs import Graphed, Graphs
from soundctm.acceleration.layout import decoders, lay_out
from soundctm.acceleration.memory import release_memory, reusing_memory

__all__ = [
    "MODES",
    "Compiled",
    "Graphed",
    "Graphs",
    "compile_pipeline",
    "decoders",
    "lay_out",
    "release_memory",
    "reusing_memory",
    "use_int8",
    "why_no_int8",
]
