"""The errors of this package: ``RegistrationError``, and two kinds of it. The message is a plain sentence that is shown
to the user as it is.

They mean what the library's own (``DeepRegistrationLib.errors``) mean, in the user's language; these are what
Slicer's console catches.
"""


class RegistrationError(RuntimeError):
    """What is wrong and what to do, in one sentence."""


class SceneInputError(RegistrationError, ValueError):
    """The input cannot be used as it is."""


class CancelledError(RegistrationError):
    """The user stopped the work."""
