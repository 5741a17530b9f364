"""Errors a user may see. Each message is one plain sentence that says what is wrong and what to do."""

LONGEST_SENTENCE = 1200


class DeepRegistrationError(Exception):
    """Base of every error raised on purpose."""

    def __str__(self) -> str:
        """On one line, whatever is quoted in it; of a very long sentence, the ends."""
        text = " ".join(super().__str__().splitlines())
        half = LONGEST_SENTENCE // 2
        return text if len(text) <= LONGEST_SENTENCE else f"{text[:half]}...{text[-half:]}"


class InputError(DeepRegistrationError, ValueError):
    """The input cannot be used (exit code 2)."""


class RegistrationFailed(DeepRegistrationError, RuntimeError):  # noqa: N818 - reads as the sentence it is
    """The input was fine, the registration could not be completed (exit code 1)."""


class Cancelled(DeepRegistrationError):  # noqa: N818
    """The user asked to stop (exit code 130)."""


class NotWritten(DeepRegistrationError, RuntimeError):  # noqa: N818
    """A result could not be written, for lack of room most likely; what was there before is unchanged (exit code 1).

    ``full``: whether there is no room for anything more either, so that others need not be tried.
    """

    def __init__(self, sentence: str, full: bool = False) -> None:
        super().__init__(sentence)
        self.full = full


NO_MEMORY = (
    *("memoryerror", "out of memory", "can't allocate memory", "failed to allocate memory", "bad_alloc"),
    *("memory allocation still failed", "cannot allocate memory"),
)
"""How Python and numpy, PyTorch on the graphics card and on the processor, ITK, C++, OpenBLAS and the system say it."""
