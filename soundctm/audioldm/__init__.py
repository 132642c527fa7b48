"""The mel codec under a name that no other package has.

Its modules lie in `audioldm/` at the top of the repository and stand alone there. An installed package has them in this
folder, in the place of this file (pyproject.toml), because PyPI knows another package that is called audioldm.
"""

import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path

_FOLDER = Path(__file__).parents[2] / "audioldm"
__path__ = [str(_FOLDER)]
SourceFileLoader(__name__, str(_FOLDER / "__init__.py")).exec_module(sys.modules[__name__])
