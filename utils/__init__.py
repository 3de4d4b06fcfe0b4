"""What every room may use: flags, devices, distribution, metrics, inference, checkpoints, logs. Imports no other room."""
