"""The audit by brute force: every count against the rows it counts, every message in one state.

`rows_that_disagree` looks at what is committed and knows nothing of the core; `memory_that_lies`
holds what the core remembers against the rows as the core sees them.
"""

from collections import Counter

import msgspec

from gateway.model import ids, records, states, tables
from gateway.relay.state import COUNT_CLIENT, COUNT_LEVEL, COUNT_OUTBOX, COUNT_TOTALS, State
from tests.relay.disk import Disk


def states_of(disk: Disk) -> dict[int, list[int]]:
    """Every state in which each message is, by the rows."""
    found: dict[int, list[int]] = {ids.from_key(key): [] for key in disk.rows[tables.MESSAGE]}

    def put(message_id: int, state: int) -> None:
        found.setdefault(message_id, []).append(state)

    for message_id in disk.queued():
        put(message_id, states.QUEUED)
    for message_id, _ in disk.flights():
        put(message_id, states.IN_FLIGHT)
    for key in disk.rows[tables.AWAITING]:
        put(ids.from_key(key), states.SUBMITTED)
    for key, row in disk.rows[tables.PARKED].items():
        put(ids.from_key(key), records.decode_parked(row).state)
    for key, row in disk.rows[tables.FINAL].items():
        put(ids.from_key(key), records.decode_ending(row).state)
    return found


def rows_that_disagree(disk: Disk) -> list[str]:
    """In words; nothing if all is well."""
    found = states_of(disk)
    wrong = [
        f"message {message_id} is {[states.NAMES[state] for state in where]}"
        for message_id, where in found.items()
        if len(where) != 1 or ids.to_key(message_id) not in disk.rows[tables.MESSAGE]
    ]
    said = disk.rows[tables.COUNT]
    totals = states.Totals()
    if COUNT_TOTALS in said:
        totals = msgspec.msgpack.decode(said[COUNT_TOTALS], type=states.Totals)
    counted = Counter(state for where in found.values() for state in where)
    for state, name in enumerate(states.NAMES):
        if totals.in_state[state] != counted[state]:
            wrong.append(f"{name}: said {totals.in_state[state]}, found {counted[state]}")
    if totals.accepted != sum(counted.values()) + totals.purged:
        wrong.append(f"accepted {totals.accepted}, found {sum(counted.values())}")
    counts = _counts(disk)
    for key in counts.keys() | (said.keys() - {COUNT_TOTALS}):
        value = int.from_bytes(said.get(key, b""), "big")
        if value != counts.get(key, 0) or said.get(key) == bytes(8):
            wrong.append(f"{key!r}: said {value}, found {counts.get(key, 0)}")
    return wrong


def _counts(disk: Disk) -> dict[bytes, int]:
    """What the count rows of lanes, clients and outboxes should say."""
    counts: Counter[bytes] = Counter()
    for key in disk.rows[tables.QUEUE]:
        counts[COUNT_LEVEL + key[: -ids.KEY_LENGTH]] += 1
        row = disk.rows[tables.MESSAGE].get(key[-ids.KEY_LENGTH :])
        if row is not None:
            counts[COUNT_CLIENT + records.decode_message(row).client.encode()] += 1
    for key in disk.rows[tables.DUE]:
        row = disk.rows[tables.MESSAGE].get(key[-ids.KEY_LENGTH :])
        if row is not None:
            counts[COUNT_CLIENT + records.decode_message(row).client.encode()] += 1
    for key in disk.rows[tables.OUTBOX]:
        counts[COUNT_OUTBOX + key[: -ids.KEY_LENGTH - 1]] += 1
    return counts


def memory_that_lies(state: State) -> list[str]:
    """Lanes, clients, binds and the working set against the rows, uncommitted turns included."""
    wrong = []
    held = 0
    queued: Counter[str] = Counter()
    for lane in state.lanes.values():
        for level in lane.levels:
            rows = state.view.scan(tables.QUEUE, level.prefix, level.prefix, 1_000_000)
            waiting = [ids.from_key(key[-ids.KEY_LENGTH :]) for key, _ in rows]
            head = [message.id for message in level.head]
            held += len(head)
            if level.rows != len(waiting):
                wrong.append(f"{level.prefix!r} says {level.rows}, has {len(waiting)}")
            if head != [message_id for message_id in waiting if message_id <= level.loaded_to]:
                wrong.append(f"{level.prefix!r} holds {head} to {level.loaded_to} of {waiting}")
            for message in level.head:
                row = state.view.get(tables.QUEUE, level.prefix + ids.to_key(message.id))
                if row != bytes((message.resends,)):
                    wrong.append(f"{message.id} was resent {message.resends} times, row {row!r}")
            for row in state.view.get_many(tables.MESSAGE, [key[-8:] for key, _ in rows]):
                if row is not None:
                    queued[records.decode_message(row).client] += 1
    for key, _ in state.view.scan(tables.DUE, b"", b"", 1_000_000):
        row = state.view.get(tables.MESSAGE, key[-ids.KEY_LENGTH :])
        if row is not None:
            queued[records.decode_message(row).client] += 1
    if held != state.working.held:
        wrong.append(f"the working set says {state.working.held}, holds {held}")
    wrong += [
        f"client {client.name}: {client.queued} queued, has {queued[client.name]}"
        for client in (*state.clients.values(), *state.former.values())
        if client.queued != queued[client.name]
    ]
    in_flight = {
        message_id
        for carrier in state.carriers.values()
        for bind in carrier.binds.values()
        for message_id in bind.flights
    }
    if not state.charges.keys() <= in_flight:
        wrong.append(f"{state.charges.keys() - in_flight} may be refunded, and do not fly")
    flying = state.flying()
    if state.totals.in_state[states.IN_FLIGHT] != flying:
        wrong.append(f"{state.totals.in_state[states.IN_FLIGHT]} in flight, {flying} fly")
    return wrong
