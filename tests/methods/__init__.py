"""A method of one's own, as someone would add it: a module that settings name by its dotted path."""
