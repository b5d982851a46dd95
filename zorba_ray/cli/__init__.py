"""The command line: one file per command. Large libraries are imported inside the commands."""
