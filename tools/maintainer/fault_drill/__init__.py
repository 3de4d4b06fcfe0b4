"""Drills that break small training runs on purpose and check that training recovers."""
