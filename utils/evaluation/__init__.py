"""Prediction and scores."""
