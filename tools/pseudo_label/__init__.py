"""Makes a dataset of the confident part of a trained network's predictions."""
