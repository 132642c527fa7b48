"""The studio's history: a folder as `ctm_inference.py` fills it, and what the studio knows beside.

    a_dog_barking.wav ...   clips, each a line of manifest.csv, which the scripts read and write, too
    own/                    sounds of the user's: dropped in, or recorded
    inputs/                 sounds that were edited and that the folder does not hold otherwise
    studio.json             stars, times, and which clip another was made from
    .trash/                 what was deleted, for KEPT_DAYS days

The folder may be one that a run of the scripts has filled. One studio holds it at a time.
"""

from soundctm.studio.history.folder import History
from soundctm.studio.history.item import Item

__all__ = ["History", "Item"]
