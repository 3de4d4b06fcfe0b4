"""Writes predictions as the labels of an annotation tool, to be corrected there."""
