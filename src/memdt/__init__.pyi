"""The public names of the package; `__init__.py` imports them on use."""

from memdt.evaluation.loading import load as load
from memdt.evaluation.player import Player as Player
