"""Outbox: what clients are owed as deliver_sm, on disk until they answer it.

A row of the table holds up to OUTBOX_ROW ids; the bodies are made again from the rows of the
messages when needed, so a receipt costs a two-hundredth of a row. The row goes when all of it is
answered: a client that lost its link in the middle gets some of it twice (at least once).

What is bounded: READY_MAX deliver_sm a client wait in memory, each link's window takes
`deliver_window`; the rest is on disk only, and comes back in order. A client that answers "not
now" is left alone for RETRY_S.
"""

import heapq
from typing import Final

from gateway.model import ids, records, tables
from gateway.model.now import Now
from gateway.relay import notice
from gateway.relay.parties import Chunk, Client, ClientLink
from gateway.relay.state import COUNT_OUTBOX, State
from gateway.relay.turn import Owed
from gateway.smpp import consts

OUTBOX_ROW: Final = 200
"""Ids in one outbox row: 1,600 octets, below the 2,000 that LMDB keeps inside a page."""

READY_MAX: Final = 2_000
"""Bodies of about 250 octets: half a megabyte for a client that does not read."""

RETRY_S: Final = 5.0
"""How long a client that answered with a temporary error is left alone."""

TEMPORARY: Final = frozenset(
    (consts.ESME_RSYSERR, consts.ESME_RMSGQFUL, consts.ESME_RTHROTTLED, consts.ESME_RX_T_APPN)
)


def owe(state: State, client: Client, message_id: int, body: bytes) -> None:
    """The client is owed this deliver_sm, from the commit of the open turn on."""
    box = client.outbox
    chunk = box.open
    if chunk is None or len(chunk.ids) >= OUTBOX_ROW:
        chunk = box.open = _new_chunk(state, client)
    chunk.ids.append(ids.to_key(message_id))
    if chunk.in_memory:
        chunk.left += 1
        box.ready.append(Owed(chunk, message_id, body))


def pump(state: State, client: Client, now: Now) -> None:
    """Sends what the windows of the client's receiving links take."""
    box = client.outbox
    if now.monotonic < box.retry_at:
        return
    if box.put_off:
        take_back(client, box.put_off)
        box.put_off = []
    delivers = state.machine.open.delivers
    while True:
        while not box.ready and box.rows > box.loaded:
            if not _reload(state, client):
                return
        link = _roomiest(client)
        if link is None or not box.ready:
            return
        owed = delivers.setdefault(link.id, [])
        for _ in range(min(link.room, len(box.ready))):
            owed.append(box.ready.popleft())
            link.room -= 1


def answered(state: State, link: ClientLink, owed: Owed, status: int, now: Now) -> None:
    """The client answered a deliver_sm: done with, or later again."""
    link.room += 1
    box = link.client.outbox
    if status in TEMPORARY:
        if not box.put_off:
            box.retry_at = now.monotonic + RETRY_S
            heapq.heappush(state.retries, (box.retry_at, link.client.name))
        box.put_off.append(owed)
        return
    if status == consts.ESME_ROK:
        link.client.delivered += 1
    else:
        state.counters.delivers_refused += 1
    chunk: Chunk = owed.chunk
    chunk.left -= 1
    if not chunk.left:
        state.machine.open.writes[tables.OUTBOX][chunk.key] = None
        box.rows -= 1
        box.loaded -= 1
        state.outboxes.add(link.client)


def take_back(client: Client, owed: list[Owed]) -> None:
    """These were not answered, or never left: they are owed still, in their order."""
    client.outbox.ready.extendleft(reversed(owed))


def drop(state: State, client: Client, row_key: bytes) -> bool:
    """A row of a client that is not bound has waited too long: nobody is owed it any more.

    False if it is on its way back from a link that has just gone: then it is the next time.
    """
    box = client.outbox
    if ids.from_key(row_key[-ids.KEY_LENGTH :]) <= box.loaded_to:
        kept = [owed for owed in box.ready if owed.chunk.key != row_key]
        if len(kept) == len(box.ready):
            return False
        box.ready.clear()
        box.ready.extend(kept)
        box.loaded -= 1
    box.rows -= 1
    state.outboxes.add(client)
    state.machine.open.writes[tables.OUTBOX][row_key] = None
    return True


def drop_nobodys(state: State, name: str, row_key: bytes) -> None:
    """The same for a client that is not configured any more: only its count is left of it."""
    count_key = COUNT_OUTBOX + name.encode()
    rows = state.view.get(tables.COUNT, count_key)
    left = (int.from_bytes(rows, "big") if rows else 1) - 1
    writes = state.machine.open.writes
    writes[tables.COUNT][count_key] = left.to_bytes(8, "big") if left else None
    writes[tables.OUTBOX][row_key] = None


def key(client: Client, number: int) -> bytes:
    """The key of an outbox row."""
    return prefix(client) + ids.to_key(number)


def prefix(client: Client) -> bytes:
    """The key prefix of a client's outbox."""
    return client.name.encode() + b"\0"


def _new_chunk(state: State, client: Client) -> Chunk:
    box = client.outbox
    number = state.outbox_ids.take()
    in_memory = box.rows == box.loaded and len(box.ready) < READY_MAX
    chunk = Chunk(client, key(client, number), in_memory=in_memory)
    box.rows += 1
    if in_memory:
        box.loaded += 1
        box.loaded_to = number
    state.open_chunks.append(chunk)
    return chunk


def _reload(state: State, client: Client) -> bool:
    """Brings the next row that is on disk only into memory."""
    box = client.outbox
    after = key(client, box.loaded_to)
    rows = state.view.scan(tables.OUTBOX, prefix(client), after, 1)
    if not rows:
        return False
    row_key, row = rows[0]
    chunk = Chunk(client, row_key, in_memory=True)
    box.loaded += 1
    box.loaded_to = ids.from_key(row_key[-ids.KEY_LENGTH :])
    for at in range(0, len(row), ids.KEY_LENGTH):
        message_id = ids.from_key(row[at : at + ids.KEY_LENGTH])
        body = _render(state, message_id)
        if body is None:
            state.counters.damaged += 1
            continue
        if not body:  # its text is older than texts are kept: there is nothing left to deliver
            state.counters.undelivered += 1
            continue
        chunk.left += 1
        box.ready.append(Owed(chunk, message_id, body))
    if not chunk.left:
        state.machine.open.writes[tables.OUTBOX][row_key] = None
        box.rows -= 1
        box.loaded -= 1
        state.outboxes.add(client)
    return True


def _render(state: State, message_id: int) -> bytes | None:
    """The body of a deliver_sm that is owed, from the rows it is about."""
    row_key = ids.to_key(message_id)
    final = state.view.get(tables.FINAL, row_key)
    message = state.view.get(tables.MESSAGE, row_key)
    if final is not None and message is not None:
        return notice.receipt_body(records.decode_message(message), records.decode_ending(final))
    inbound = state.view.get(tables.INBOUND, row_key)
    return None if inbound is None else records.decode_inbound(inbound).body


def _roomiest(client: Client) -> ClientLink | None:
    best = None
    room = 0
    for link in client.links.values():
        if link.receives and link.room > room:
            best, room = link, link.room
    return best
