"""Command-line fronts: parse arguments, call src, print."""
