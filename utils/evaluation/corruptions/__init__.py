"""Images in weather, at night and from bad cameras: `--corruption` of eval.py."""
from utils.evaluation.corruptions.options import CorruptionOptions, add_flags
from utils.evaluation.corruptions.table import KINDS, Corrupted, Corruption

__all__ = ["KINDS", "Corrupted", "Corruption", "CorruptionOptions", "add_flags"]
