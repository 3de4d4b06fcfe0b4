"""The HTML page that shows an evaluation: a single file that opens without a server."""
