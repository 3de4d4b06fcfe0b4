"""Label maps and flow fields as pictures."""
