"""How many requests may be with backends at once."""

from . import errors


class ConcurrencyLimit:
    """A number of slots. Nobody waits for one: whoever comes too late is to try elsewhere."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.taken = 0

    def take(self) -> None:
        """Take a slot, which the caller frees.

        Raises:
            OverloadedError: all are taken.
        """
        if self.taken >= self.size:
            raise errors.OverloadedError
        self.taken += 1

    def free(self) -> None:
        """Give a slot back."""
        self.taken -= 1
