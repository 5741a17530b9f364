"""The one error of this package. Its message is a plain sentence that is shown to the user as it is."""


class RegistrationError(RuntimeError):
    """What is wrong and what to do, in one sentence."""


class InputError(RegistrationError, ValueError):
    """The input cannot be used as it is."""


class CancelledError(RegistrationError):
    """The user stopped the work."""
