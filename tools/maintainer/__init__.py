"""Commands that only maintainers run."""
