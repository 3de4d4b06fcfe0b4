"""Code that every package may import; it imports no other package of this project."""
import sys

from utils.evaluation import metrics
from utils.evaluation.metrics import IGNORE_LABEL

__all__ = ["IGNORE_LABEL", "metrics"]

# `from utils.metrics import ConfusionMatrix` works, whichever package holds the module
sys.modules[f"{__name__}.metrics"] = metrics
