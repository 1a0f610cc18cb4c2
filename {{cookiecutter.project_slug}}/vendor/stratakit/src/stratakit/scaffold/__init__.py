"""Services that come and go: baked from the template that the project is made of, and removed.

Whatever can fail is done in a scratch folder. The project is touched last, by renaming.
"""

from .databases import databases
from .eject import eject
from .lifecycle import add, remove
from .preconditions import refuse_uncommitted

__all__ = ["add", "databases", "eject", "refuse_uncommitted", "remove"]
