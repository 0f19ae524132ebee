"""What a session waits for, and until when: one deadline at a time, on a clock that can stand still.

Five things are waited for: that the session is bound, that the peer is heard of, that a PDU which
it has begun is whole, that our oldest request is answered, that our unbind is. While nobody reads
the session, silence is our own doing: between `pause` and `resume` its clock stands still, and
every deadline is as far off as before.

All times given and returned are the caller's monotonic seconds; those kept are the session's own.
Nothing here sends, and nothing fails: `Due` says what is to be done.
"""

import math
from typing import Final, NamedTuple

from gateway.smpp import states


class Due(NamedTuple):
    """What is to be done at a moment: end the link for this reason; with none, probe the peer."""

    at: float
    why: str


_NEVER: Final = Due(math.inf, "")


class Timers:
    """The clock of one session and what it has promised itself by it."""

    __slots__ = (
        "_bind_timeout_s",
        "_enquire_link_s",
        "_heard_at",
        "_opened_at",
        "_partial_at",
        "_paused_at",
        "_pdu_timeout_s",
        "_probe_timeout_s",
        "_probed_at",
        "_response_timeout_s",
        "_stood_still_s",
        "_unbind_at",
    )

    def __init__(
        self,
        *,
        enquire_link_s: float,
        response_timeout_s: float,
        bind_timeout_s: float,
        pdu_timeout_s: float,
        now: float,
    ) -> None:
        self._enquire_link_s = enquire_link_s
        self._probe_timeout_s = min(enquire_link_s, response_timeout_s)
        self._response_timeout_s = response_timeout_s
        self._bind_timeout_s = bind_timeout_s
        self._pdu_timeout_s = pdu_timeout_s
        self._opened_at = self._heard_at = now
        self._partial_at: float | None = None
        self._probed_at: float | None = None
        self._unbind_at: float | None = None
        self._paused_at: float | None = None
        self._stood_still_s = 0.0

    def due(self, state: int, oldest_at: float | None) -> Due:
        """What comes first; `oldest_at` is when the oldest unanswered request was made (`clock`).

        The peer is probed after `enquire_link_s` of silence, and the probe has as long again, or
        `response_timeout_s` if that is shorter: a dead link is found within twice `enquire_link_s`.
        """
        if self._paused_at is not None or state == states.CLOSED:
            return _NEVER
        dues = []
        if state == states.OPEN:
            dues.append(Due(self._opened_at + self._bind_timeout_s, "not bound in time"))
        elif self._probed_at is not None:
            dues.append(Due(self._probed_at + self._probe_timeout_s, "enquire_link unanswered"))
        elif state in states.BOUND:
            dues.append(Due(self._heard_at + self._enquire_link_s, ""))
        if self._partial_at is not None:
            dues.append(
                Due(self._partial_at + self._pdu_timeout_s, "a PDU was begun and not ended")
            )
        if oldest_at is not None:
            dues.append(Due(oldest_at + self._response_timeout_s, "a request unanswered"))
        if self._unbind_at is not None:
            dues.append(Due(self._unbind_at + self._response_timeout_s, "unbind unanswered"))
        first = min(dues, default=_NEVER)
        return Due(first.at + self._stood_still_s, first.why)

    def clock(self, now: float) -> float:
        """The session's own time."""
        return (now if self._paused_at is None else self._paused_at) - self._stood_still_s

    def opened(self, now: float) -> None:
        """From now on the session has `bind_timeout_s` to be bound."""
        self._opened_at = self.clock(now)

    def heard(self, now: float) -> None:
        """The peer has sent a PDU: any proves life, not only enquire_link_resp."""
        self._heard_at = self.clock(now)
        self._probed_at = None

    def partial(self, now: float) -> None:
        """A PDU has begun to arrive. More octets of it gain no time, for they prove no life."""
        self._partial_at = self.clock(now)

    def whole(self) -> None:
        """Every PDU that began to arrive is whole."""
        self._partial_at = None

    def probed(self, now: float) -> None:
        """The peer was sent an enquire_link."""
        self._probed_at = self.clock(now)

    def unbind_sent(self, now: float) -> None:
        """The peer was sent an unbind."""
        self._unbind_at = self.clock(now)

    def unbind_answered(self) -> None:
        """And has answered it."""
        self._unbind_at = None

    def pause(self, now: float) -> None:
        """We stop reading."""
        if self._paused_at is None:
            self._paused_at = now

    def resume(self, now: float) -> None:
        """We read again."""
        if self._paused_at is not None:
            self._stood_still_s += now - self._paused_at
            self._paused_at = None
