"""What every room may use: flags, devices, metrics, inference, checkpoints, logs. Imports no other room."""
