"""What goes wrong outside of this package. Imports nothing, so that every room may use it."""


class InputError(ValueError):
    """Something the user gave is wrong. The message is one line: what, where, what would be right."""
