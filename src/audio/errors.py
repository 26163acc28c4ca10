"""The error of everything that deals with recordings."""

from src.errors import UserError


class AudioError(UserError, ValueError):
    """A recording or a signal that cannot be used; the message is one sentence with the remedy."""
