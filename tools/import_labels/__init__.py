"""Makes a dataset of the files that annotation tools write."""
