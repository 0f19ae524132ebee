"""Secret: a password or key that shows itself only when asked by name.

It has no text form, cannot be encoded by msgspec, and compares in constant time, so that neither a
log line, nor `ctl`, nor the time a comparison takes gives it away.
"""

import hmac


class Secret:
    """Some octets that stay out of logs."""

    __slots__ = ("_octets",)

    def __init__(self, octets: bytes) -> None:
        self._octets = octets

    def reveal(self) -> bytes:
        """The octets themselves, for the wire and for nothing else."""
        return self._octets

    def matches(self, candidate: bytes) -> bool:
        """Whether a peer sent the same; takes as long for a near miss as for a far one."""
        return hmac.compare_digest(self._octets, candidate)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self.matches(other._octets)

    def __hash__(self) -> int:
        return hash(self._octets)

    def __repr__(self) -> str:
        return "Secret(...)"
