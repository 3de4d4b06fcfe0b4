"""Runtimes that run a network, and the files that they read."""
