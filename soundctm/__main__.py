"""`python -m soundctm` is the command `soundctm`; `accelerate launch -m soundctm train ...` starts several."""

import sys

from soundctm.commands import main

if __name__ == "__main__":
    sys.exit(main(program="python -m soundctm"))
