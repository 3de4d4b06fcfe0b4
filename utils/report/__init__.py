"""The page that shows what an evaluation found: one file that opens from disk, with everything in it."""
