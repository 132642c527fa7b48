"""Both backbones, for tests that must hold over each: `net` is the module `nets` or `dit`."""

import dit
import nets
import pytest

BACKBONES = {net.NAME: net for net in (nets, dit)}
over_both = pytest.mark.parametrize("net", BACKBONES.values(), ids=list(BACKBONES))
