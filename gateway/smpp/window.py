"""The window: requests of ours that were sent and not yet answered, and their sequence numbers.

A dict in the order of sending, so the oldest is its first and the newest its last. Requests that
the session makes for itself (bind, enquire_link, unbind) are `own` and take no room; their
sequence numbers come from the same source.

Not here: what may be sent when (states), and what an answer means (session, which looks into
`waiting` and `own` itself: this is its hot path).
"""

from collections.abc import Sequence

from gateway.smpp.codec import HEADER
from gateway.smpp.consts import RESPONSE, SEQUENCE_NUMBER_MAX

Entry = tuple[object, int, float, int]
"""ref, the command_id that answers it, when it was sent, and its place among all ever sent."""


class Window:
    """At most `limit` requests without an answer."""

    __slots__ = ("_next", "limit", "made", "own", "waiting")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.waiting: dict[int, Entry] = {}
        self.own: dict[int, int] = {}
        self._next = 1
        self.made = 0

    def send(
        self, command_id: int, items: Sequence[tuple[bytes, object]], at: float
    ) -> list[bytes]:
        """Requests with these bodies, in their order; the caller has looked for room."""
        waiting, own, pack = self.waiting, self.own, HEADER.pack
        sequence_number, made = self._next, self.made
        response = command_id | RESPONSE
        pdus = []
        for body, ref in items:
            while sequence_number in waiting or sequence_number in own:
                sequence_number = sequence_number % SEQUENCE_NUMBER_MAX + 1
            waiting[sequence_number] = (ref, response, at, made)
            pdus.append(pack(16 + len(body), command_id, 0, sequence_number) + body)
            made += 1
            sequence_number = sequence_number % SEQUENCE_NUMBER_MAX + 1
        self._next, self.made = sequence_number, made
        return pdus

    def send_own(self, command_id: int, body: bytes = b"") -> bytes:
        """A request of the session's own."""
        sequence_number = self._next
        while sequence_number in self.waiting or sequence_number in self.own:
            sequence_number = sequence_number % SEQUENCE_NUMBER_MAX + 1
        self.own[sequence_number] = command_id
        self._next = sequence_number % SEQUENCE_NUMBER_MAX + 1
        return HEADER.pack(16 + len(body), command_id, 0, sequence_number) + body

    def drop_own(self, command_id: int) -> None:
        """Expect no answer any longer to own requests of this kind."""
        for sequence_number in [n for n, own in self.own.items() if own == command_id]:
            del self.own[sequence_number]

    def withdraw(self, count: int) -> list[object]:
        """Take out the last `count` requests made, which never left; their refs, in order.

        They are known by their place among all ever made: a peer that guesses sequence numbers can
        have "answered" one of them, and then it must not be an older one that is taken instead.
        """
        first = self.made - count
        refs = []
        while self.waiting:
            sequence_number, entry = self.waiting.popitem()
            if entry[3] < first:
                self.waiting[sequence_number] = entry
                break
            refs.append(entry[0])
            self._next = sequence_number
        self.made = first
        refs.reverse()
        return refs

    def abandon(self) -> list[object]:
        """Take out everything; the refs in order."""
        refs = [entry[0] for entry in self.waiting.values()]
        self.waiting.clear()
        self.own.clear()
        return refs

    def oldest_at(self) -> float | None:
        """When the oldest request without an answer was sent."""
        for entry in self.waiting.values():
            return entry[2]
        return None
