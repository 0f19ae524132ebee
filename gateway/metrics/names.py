"""Names: every metric, with its kind, labels, unit and meaning, in one table.

Names follow Prometheus: base units, `_total` for what only grows, one unit a name. Labels are
never a telephone number or a message: their values are names from the configuration and the
registry, states, outcomes and statuses, so the number of series is known beforehand (`SERIES_MAX`
bounds each family all the same).

`exposition` refuses what is not in this table. What is counted where is `admin.collect`'s.
"""

from typing import Final, Literal

import msgspec

Kind = Literal["counter", "gauge"]

PREFIX: Final = "smppgate_"

SERIES_MAX: Final = 5_000
"""Series a family, about 400 KB a scrape; what is over it is left out, and counted in
smppgate_series_left_out. 2,500 campaigns with two limits each stay below it."""


class Metric(msgspec.Struct, frozen=True):
    """One family. Its name ends in its unit, if it has one."""

    name: str
    kind: Kind
    unit: str
    help: str
    labels: tuple[str, ...] = ()


_CLIENT, _CARRIER = ("client",), ("carrier",)
_BIND = ("carrier", "bind")
_LANE = ("route", "campaign")
_LIMIT = ("campaign", "limit", "per")

_TABLE: Final = (
    # the process
    Metric("started_timestamp_seconds", "gauge", "seconds", "When the process began."),
    Metric("starts", "gauge", "", "How often this store was started."),
    Metric("ready", "gauge", "", "1 once traffic is accepted, 0 before."),
    Metric("draining", "gauge", "", "1 while the daemon finishes and ends."),
    # messages: accepted = in each state + purged
    Metric("messages", "gauge", "", "Messages in each state.", ("state",)),
    Metric("messages_accepted_total", "counter", "", "Messages accepted, ever (of this store)."),
    Metric("messages_purged_total", "counter", "", "Final messages deleted after their retention."),
    Metric("in_doubt_total", "counter", "", "Messages sent, or about to be, and never answered."),
    Metric("resent_total", "counter", "", "Messages in doubt that were sent again."),
    Metric("unsent_total", "counter", "", "Messages put back because no octet of them left."),
    # clients
    Metric("client_accepted_total", "counter", "", "submit_sm accepted since the start.", _CLIENT),
    Metric(
        "client_refused_total",
        "counter",
        "",
        "submit_sm refused since the start, by outcome.",
        ("client", "outcome"),
    ),
    Metric("client_delivered_total", "counter", "", "deliver_sm the client answered.", _CLIENT),
    Metric("client_binds", "gauge", "", "Sessions that are bound.", _CLIENT),
    Metric("client_queued", "gauge", "", "Messages that wait in lanes.", _CLIENT),
    Metric("client_queue_limit", "gauge", "", "At which submit_sm get ESME_RMSGQFUL.", _CLIENT),
    Metric(
        "client_outbox_rows",
        "gauge",
        "",
        "Rows of up to 200 receipts and messages that the client is owed.",
        _CLIENT,
    ),
    Metric(
        "acks_undelivered_total",
        "counter",
        "",
        "Positive answers that found their link gone: their clients may submit again.",
    ),
    Metric(
        "undelivered_total",
        "counter",
        "",
        "deliver_sm dropped because their client did not come for them in time.",
    ),
    Metric("delivers_refused_total", "counter", "", "deliver_sm that a client refused for good."),
    # peers
    Metric("connections", "gauge", "", "Connections of clients and of those who are none yet."),
    Metric("connections_limit", "gauge", "", "At which one must go for the next."),
    Metric("connections_refused_total", "counter", "", "Connections closed for want of room."),
    Metric("handshakes_failed_total", "counter", "", "Connections that got no TLS."),
    Metric("binds_refused_total", "counter", "", "Binds of clients that were refused."),
    Metric(
        "session_bugs_total",
        "counter",
        "",
        "Sessions, with anybody, that failed on what they were sent: a bug each, see the log.",
    ),
    # carriers
    Metric("carrier_binds", "gauge", "", "Binds that are configured.", _CARRIER),
    Metric("carrier_binds_up", "gauge", "", "Binds that are bound.", _CARRIER),
    Metric("carrier_submitted_total", "counter", "", "submit_sm answered ESME_ROK.", _CARRIER),
    Metric("carrier_throttled_total", "counter", "", "submit_sm throttled.", _CARRIER),
    Metric(
        "carrier_refused_total",
        "counter",
        "",
        "submit_sm not answered ESME_ROK, by command_status; throttled ones included.",
        ("carrier", "status"),
    ),
    Metric("carrier_orphans_total", "counter", "", "Receipts that found no message.", _CARRIER),
    Metric("carrier_awaiting", "gauge", "", "Receipts that the carrier still owes.", _CARRIER),
    Metric(
        "carrier_oldest_in_flight_timestamp_seconds",
        "gauge",
        "seconds",
        "When the oldest message that the carrier has not answered was sent.",
        _CARRIER,
    ),
    Metric("carrier_paused_campaigns", "gauge", "", "Campaigns paused by throttling.", _CARRIER),
    Metric("carrier_rate_used", "gauge", "", "Segments in the carrier's window now.", _CARRIER),
    Metric("carrier_rate_limit", "gauge", "", "Segments that this window holds.", _CARRIER),
    Metric("bind_up", "gauge", "", "1 while bound.", _BIND),
    Metric("bind_bound_total", "counter", "", "How often it was bound.", _BIND),
    Metric("bind_since_timestamp_seconds", "gauge", "seconds", "When bind_up changed.", _BIND),
    Metric("bind_window_used", "gauge", "", "submit_sm without an answer.", _BIND),
    Metric("bind_window_size", "gauge", "", "submit_sm that may be without an answer.", _BIND),
    # what carriers bring
    Metric("receipts_total", "counter", "", "Receipts from carriers, all kinds."),
    Metric("receipts_intermediate_total", "counter", "", "Receipts that end nothing."),
    Metric("receipts_orphaned_total", "counter", "", "Receipts that found no message."),
    Metric("receipts_repeated_total", "counter", "", "Receipts of messages that had ended before."),
    Metric("receipts_corrected_total", "counter", "", "Late receipts that corrected `unknown`."),
    Metric("inbound_total", "counter", "", "Messages from handsets."),
    # queue and limits
    Metric("queue_messages", "gauge", "", "Messages that wait in a lane.", _LANE),
    Metric(
        "queue_oldest_timestamp_seconds",
        "gauge",
        "seconds",
        "When the message that has waited longest in a lane was accepted.",
        _LANE,
    ),
    Metric("limit_used", "gauge", "", "Segments that count against a limit now.", _LIMIT),
    Metric("limit_segments", "gauge", "", "Segments that a limit lets pass.", _LIMIT),
    Metric("working_set_messages", "gauge", "", "Queued messages in memory."),
    Metric("working_set_limit", "gauge", "", "Queued messages that may be in memory."),
    # turns and the store
    Metric("turns_total", "counter", "", "Turns taken, those without a commit included."),
    Metric("commits_total", "counter", "", "Turns committed."),
    Metric("commit_seconds_total", "counter", "seconds", "Time that commits took."),
    Metric("commit_slowest_seconds", "gauge", "seconds", "The slowest commit since the start."),
    Metric("commit_last_timestamp_seconds", "gauge", "seconds", "When the last one returned."),
    Metric("committed_rows_total", "counter", "", "Rows written and deleted by commits."),
    Metric("store_file_bytes", "gauge", "bytes", "The store's file, up to its last page."),
    Metric("store_free_bytes", "gauge", "bytes", "Pages of it without rows."),
    Metric(
        "store_held_bytes",
        "gauge",
        "bytes",
        "Free pages that an old reader may keep from being used again.",
    ),
    Metric(
        "store_oldest_reader_seconds",
        "gauge",
        "seconds",
        "How long the oldest reader that lags behind the commits has been seen.",
    ),
    Metric("store_readers_cleared_total", "counter", "", "Places of dead readers given back."),
    Metric("room_bytes", "gauge", "bytes", "What can still be written: volume or map."),
    Metric("room_plenty", "gauge", "", "1 while new messages are accepted, 0 when room is short."),
    Metric("damaged_total", "counter", "", "Damaged rows that were set aside."),
    # the scrape itself
    Metric("series_left_out", "gauge", "", "Series over the budget of their family."),
)

METRICS: Final[dict[str, Metric]] = {
    PREFIX + metric.name: msgspec.structs.replace(metric, name=PREFIX + metric.name)
    for metric in _TABLE
}
