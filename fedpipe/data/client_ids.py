"""The ids of many clients as one text: a Python string for each would take fifty bytes more than
its characters.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, overload

import numpy as np

from fedpipe.data.array_types import Bools, Int32s, Int64s

_DECODED_AT_ONCE = 4096


class ClientIds(Sequence[str]):
    """Sorted client ids, decoded when they are asked for. Equal to any sequence of the same ids; a
    slice is a tuple.

    >>> ids = ClientIds.of(["a", "b", "zoë"])
    >>> ids[-1], ids[:2], "b" in ids, ids == ("a", "b", "zoë")
    ('zoë', ('a', 'b'), True, True)
    """

    def __init__(
        self,
        text: bytes,
        ends: Int64s,
        positions: Int32s | None = None,
    ) -> None:
        """Take the ids.

        Args:
            text: all ids in UTF-8, one behind the other.
            ends: int64 [ids + 1], 0 and where each of them ends.
            positions: ascending; those of the ids that are taken, all with None.
        """
        self._text = text
        self._ends = ends
        self._positions = positions

    @classmethod
    def of(cls, ids: Iterable[str]) -> "ClientIds":
        """Return sorted texts as ids."""
        encoded = [client_id.encode() for client_id in ids]
        ends = np.zeros(len(encoded) + 1, np.int64)
        np.cumsum(np.fromiter(map(len, encoded), np.int64, len(encoded)), out=ends[1:])
        return cls(b"".join(encoded), ends)

    def where(self, mask: Bools) -> "ClientIds":
        """Return the ids for which the mask, bool [ids], is true."""
        if mask.all():
            return self
        chosen = np.flatnonzero(mask).astype(np.int32)
        return ClientIds(
            self._text, self._ends, chosen if self._positions is None else self._positions[chosen]
        )

    def find(self, client_id: str) -> int | None:
        """Return the place of an id, or None if it is not there."""
        place = bisect_left(self, client_id)
        if place < len(self) and self[place] == client_id:
            return place
        return None

    def __len__(self) -> int:
        if self._positions is None:
            return len(self._ends) - 1
        return len(self._positions)

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[str, ...]: ...

    def __getitem__(self, index: int | slice) -> str | tuple[str, ...]:
        if isinstance(index, slice):
            return tuple(self._at(place) for place in range(*index.indices(len(self))))
        place = range(len(self))[index]
        return self._at(place)

    def _at(self, place: int) -> str:
        number = place if self._positions is None else int(self._positions[place])
        return self._text[int(self._ends[number]) : int(self._ends[number + 1])].decode()

    def __iter__(self) -> Iterator[str]:
        for first in range(0, len(self), _DECODED_AT_ONCE):
            end = min(first + _DECODED_AT_ONCE, len(self))
            numbers = (
                np.arange(first, end) if self._positions is None else self._positions[first:end]
            )
            for start, stop in zip(
                self._ends[numbers].tolist(), self._ends[numbers + 1].tolist(), strict=True
            ):
                yield self._text[start:stop].decode()

    def __contains__(self, client_id: object) -> bool:
        return isinstance(client_id, str) and self.find(client_id) is not None

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or isinstance(other, str):
            return NotImplemented
        return len(self) == len(other) and all(
            mine == theirs for mine, theirs in zip(self, other, strict=True)
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        more = ", ..." if len(self) > 3 else ""
        return f"<{len(self)} client ids: {', '.join(map(repr, self[:3]))}{more}>"

    def __add__(self, other: Any) -> tuple[str, ...]:
        return (*self, *other)
