"""What this machine does with the networks: rates, inference, training, loading, hours of a run."""
