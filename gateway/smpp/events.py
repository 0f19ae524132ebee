"""What a session tells its shell: one small struct per thing that happened, in wire order.

Values, not callbacks. Sequence numbers are the peer's own and only good for `Session.respond`.
"""

import msgspec

from gateway.smpp.codec import Bind, Sm


class Submit(msgspec.Struct, gc=False):
    """The client submits a message; it is owed a submit_sm_resp."""

    sequence_number: int
    sm: Sm


class Deliver(msgspec.Struct, gc=False):
    """The carrier delivers a receipt or a message; it is owed a deliver_sm_resp."""

    sequence_number: int
    sm: Sm


class Answer(msgspec.Struct, gc=False):
    """A response to the request that was made with `ref`.

    `command_id` is generic_nack when the peer did not understand the request.
    """

    ref: object
    command_id: int
    command_status: int
    body: bytes


class BindRequest(msgspec.Struct, gc=False):
    """A client wants to bind; it is owed a response, and until then everything else is refused."""

    sequence_number: int
    command_id: int
    bind: Bind


class BindAnswer(msgspec.Struct, gc=False):
    """The carrier answered our bind; the session is bound if `command_status` is ESME_ROK."""

    command_status: int
    body: bytes


class Unbound(msgspec.Struct, gc=False):
    """The peer asks to unbind: answer what is owed, then unbind_resp, then close the link."""

    sequence_number: int


class UnbindAnswer(msgspec.Struct, gc=False):
    """The peer answered our unbind: close the link."""

    command_status: int


class LinkFault(msgspec.Struct, gc=False):
    """The link is of no more use: send `data_to_send`, close it, and `abandon` the session.

    `command_status` is what the peer was told in a generic_nack, ESME_ROK if it was told nothing.
    """

    why: str
    command_status: int


Event = Submit | Deliver | Answer | BindRequest | BindAnswer | Unbound | UnbindAnswer | LinkFault
