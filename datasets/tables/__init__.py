"""One table per dataset: classes, colors, ids, layouts and splits."""
