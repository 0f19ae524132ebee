"""Message ids: 63 bits, growing in arrival order, never repeated.

Above stands the number of starts of the daemon (raised and committed before it says `ready`),
below a counter. So an id needs no disk to be unique, and as a big-endian key it appends to its
LMDB table. Outside it is written as 13 lower-case Crockford base32 characters whose first is
always one of `g h j k m n p q`: no client can take it for a decimal or hexadecimal number and
"normalise" its zeros or its case (jasmin#1034, #1129).
"""

COUNTER_BITS = 42
"""4.4e12 ids a start: 1.4 years without a restart at 100,000 messages a second."""

STARTS_MAX = (1 << (63 - COUNTER_BITS)) - 1
"""2.1 million starts: 8 months of restarting every ten seconds."""

TEXT_LENGTH = 13
KEY_LENGTH = 8

_ALPHABET = b"0123456789abcdefghjkmnpqrstvwxyz"
_TRIPLES = tuple(
    bytes((_ALPHABET[i >> 10], _ALPHABET[i >> 5 & 31], _ALPHABET[i & 31])) for i in range(1 << 15)
)
_VALUES = {char: value for value, char in enumerate(_ALPHABET)}
_MARK = 16
"""Set in the first character: 13 characters hold 65 bits, an id has 63."""


class IdSource:
    """Hands out the ids of one start of the daemon."""

    __slots__ = ("_limit", "_next")

    def __init__(self, starts: int) -> None:
        if not 0 <= starts <= STARTS_MAX:
            raise ValueError(f"{starts} starts do not fit into a message id")
        self._next = first(starts)
        self._limit = first(starts + 1)

    def take(self) -> int:
        """The next id; a counter that is used up is a fault, and a restart mends it."""
        taken = self._next
        if taken >= self._limit:
            raise OverflowError("the message counter of this start is used up: restart the daemon")
        self._next = taken + 1
        return taken


def first(starts: int) -> int:
    """The first id of this start: all of earlier ones are below it."""
    return starts << COUNTER_BITS


def to_text(message_id: int) -> bytes:
    """The 13 characters by which the outside knows this id."""
    return (
        _TRIPLES[_MARK | message_id >> 60][2:]
        + _TRIPLES[message_id >> 45 & 0x7FFF]
        + _TRIPLES[message_id >> 30 & 0x7FFF]
        + _TRIPLES[message_id >> 15 & 0x7FFF]
        + _TRIPLES[message_id & 0x7FFF]
    )


def from_text(text: str) -> int | None:
    """The id that these 13 characters name, in either case; None if they name none."""
    raw = text.encode("ascii", "replace").lower()
    if len(raw) != TEXT_LENGTH:
        return None
    value = 0
    for char in raw:
        digit = _VALUES.get(char)
        if digit is None:
            return None
        value = value << 5 | digit
    if not value >> 64:
        return None
    value &= (1 << 64) - 1
    return value if value >> 63 == 0 else None


def to_key(message_id: int) -> bytes:
    """Its key on disk: 8 octets, big-endian, so that keys grow as messages arrive."""
    return message_id.to_bytes(KEY_LENGTH, "big")


def from_key(key: bytes) -> int:
    """The id of an 8-octet key."""
    return int.from_bytes(key, "big")
