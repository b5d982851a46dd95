"""The command line: one file per verb; heavy imports stand inside the commands."""
