"""The tables of datasets: classes, layouts and splits, as data."""
