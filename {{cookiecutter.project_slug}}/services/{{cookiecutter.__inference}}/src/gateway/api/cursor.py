"""Where a page ends, as text that means nothing to clients."""

import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, datetime, timedelta
from uuid import UUID

from ..ports import Position

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
# 24 bytes, so that base64 needs no padding.
_FORMAT = struct.Struct(">q16s")


def encode(position: Position) -> str:
    """Return the cursor of `position`."""
    microseconds = (position.created_at - _EPOCH) // _MICROSECOND
    return urlsafe_b64encode(_FORMAT.pack(microseconds, position.id.bytes)).decode()


def decode(cursor: str) -> Position:
    """Return the position of `cursor`.

    Raises:
        ValueError: it is none of ours.
    """
    try:
        microseconds, id_ = _FORMAT.unpack(urlsafe_b64decode(cursor))
        return Position(_EPOCH + microseconds * _MICROSECOND, UUID(bytes=id_))
    except (ValueError, OverflowError, struct.error) as error:
        raise ValueError("no cursor of this API") from error
