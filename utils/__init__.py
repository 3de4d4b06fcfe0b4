"""What every package may use. Imports no other package of this project."""
import sys

from utils.evaluation import metrics

sys.modules[f"{__name__}.metrics"] = metrics                # `from utils.metrics import ConfusionMatrix` keeps working
