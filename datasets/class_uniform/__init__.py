"""Class-uniform sampling: class centroids, and the epochs that are drawn around them."""
