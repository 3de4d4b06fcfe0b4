"""Reading checkpoints: published files, our own, and ImageNet weights."""
