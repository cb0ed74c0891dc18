"""The one error class of densebone."""


class UserError(ValueError):
    """What was given cannot be used: one line that says what was given, what is allowed and what to do.

    A `ValueError`, so that code which catches those keeps working. The commands print the line and exit with
    status 2, without a traceback; every other exception is a fault of the program and keeps its traceback.
    """
