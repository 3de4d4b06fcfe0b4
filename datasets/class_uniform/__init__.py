"""Class-uniform sampling: where classes lie, and the epochs that are drawn from it."""
