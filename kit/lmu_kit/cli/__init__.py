"""The command line, the only place that uses all three packages."""
