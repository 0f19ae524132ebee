"""The numbers of SMPP 3.4, as plain ints, and their names for people.

Not enums: `IntEnum(value)` costs more than the decoding of a PDU header, and a peer may send any
number. A number that is not listed here is legal everywhere; only its name is a plain hex number.
Sections are those of the SMPP 3.4 specification, issue 1.2.
"""

from typing import Final

# ------------------------------------------------------------------ command_id (section 5.1.2.1)

RESPONSE: Final = 0x80000000
"""The bit that makes a request's command_id its response's."""

GENERIC_NACK: Final = 0x80000000
BIND_RECEIVER: Final = 0x00000001
BIND_RECEIVER_RESP: Final = 0x80000001
BIND_TRANSMITTER: Final = 0x00000002
BIND_TRANSMITTER_RESP: Final = 0x80000002
QUERY_SM: Final = 0x00000003
QUERY_SM_RESP: Final = 0x80000003
SUBMIT_SM: Final = 0x00000004
SUBMIT_SM_RESP: Final = 0x80000004
DELIVER_SM: Final = 0x00000005
DELIVER_SM_RESP: Final = 0x80000005
UNBIND: Final = 0x00000006
UNBIND_RESP: Final = 0x80000006
REPLACE_SM: Final = 0x00000007
REPLACE_SM_RESP: Final = 0x80000007
CANCEL_SM: Final = 0x00000008
CANCEL_SM_RESP: Final = 0x80000008
BIND_TRANSCEIVER: Final = 0x00000009
BIND_TRANSCEIVER_RESP: Final = 0x80000009
OUTBIND: Final = 0x0000000B
ENQUIRE_LINK: Final = 0x00000015
ENQUIRE_LINK_RESP: Final = 0x80000015
SUBMIT_MULTI: Final = 0x00000021
SUBMIT_MULTI_RESP: Final = 0x80000021
ALERT_NOTIFICATION: Final = 0x00000102
DATA_SM: Final = 0x00000103
DATA_SM_RESP: Final = 0x80000103

_COMMANDS: Final = {
    BIND_RECEIVER: "bind_receiver",
    BIND_TRANSMITTER: "bind_transmitter",
    QUERY_SM: "query_sm",
    SUBMIT_SM: "submit_sm",
    DELIVER_SM: "deliver_sm",
    UNBIND: "unbind",
    REPLACE_SM: "replace_sm",
    CANCEL_SM: "cancel_sm",
    BIND_TRANSCEIVER: "bind_transceiver",
    OUTBIND: "outbind",
    ENQUIRE_LINK: "enquire_link",
    SUBMIT_MULTI: "submit_multi",
    ALERT_NOTIFICATION: "alert_notification",
    DATA_SM: "data_sm",
}

BINDS: Final = frozenset((BIND_RECEIVER, BIND_TRANSMITTER, BIND_TRANSCEIVER))

# ---------------------------------------------------------------------- limits (sections 3.2, 5.1)

SEQUENCE_NUMBER_MAX: Final = 0x7FFFFFFF
"""Section 5.1.4: 1 to this; the next one is 1 again."""

COMMAND_LENGTH_MIN: Final = 16
"""Section 3.2: the header alone."""

COMMAND_LENGTH_MAX: Final = 65536
"""What a peer, bound or not, can make us buffer. A handset can join 255 parts of 140 octets (3GPP
TS 23.040, section 9.2.3.24.1), 35,700 octets; this leaves as much again for every other field."""

# --------------------------------------------------------------- command_status (section 5.1.3)

ESME_ROK: Final = 0x00
ESME_RINVMSGLEN: Final = 0x01
ESME_RINVCMDLEN: Final = 0x02
ESME_RINVCMDID: Final = 0x03
ESME_RINVBNDSTS: Final = 0x04
ESME_RALYBND: Final = 0x05
ESME_RINVPRTFLG: Final = 0x06
ESME_RINVREGDLVFLG: Final = 0x07
ESME_RSYSERR: Final = 0x08
ESME_RINVSRCADR: Final = 0x0A
ESME_RINVDSTADR: Final = 0x0B
ESME_RINVMSGID: Final = 0x0C
ESME_RBINDFAIL: Final = 0x0D
ESME_RINVPASWD: Final = 0x0E
ESME_RINVSYSID: Final = 0x0F
ESME_RCANCELFAIL: Final = 0x11
ESME_RREPLACEFAIL: Final = 0x13
ESME_RMSGQFUL: Final = 0x14
ESME_RINVSERTYP: Final = 0x15
ESME_RINVNUMDESTS: Final = 0x33
ESME_RINVDLNAME: Final = 0x34
ESME_RINVDESTFLAG: Final = 0x40
ESME_RINVSUBREP: Final = 0x42
ESME_RINVESMCLASS: Final = 0x43
ESME_RCNTSUBDL: Final = 0x44
ESME_RSUBMITFAIL: Final = 0x45
ESME_RINVSRCTON: Final = 0x48
ESME_RINVSRCNPI: Final = 0x49
ESME_RINVDSTTON: Final = 0x50
ESME_RINVDSTNPI: Final = 0x51
ESME_RINVSYSTYP: Final = 0x53
ESME_RINVREPFLAG: Final = 0x54
ESME_RINVNUMMSGS: Final = 0x55
ESME_RTHROTTLED: Final = 0x58
ESME_RINVSCHED: Final = 0x61
ESME_RINVEXPIRY: Final = 0x62
ESME_RINVDFTMSGID: Final = 0x63
ESME_RX_T_APPN: Final = 0x64
ESME_RX_P_APPN: Final = 0x65
ESME_RX_R_APPN: Final = 0x66
ESME_RQUERYFAIL: Final = 0x67
ESME_RINVOPTPARSTREAM: Final = 0xC0
ESME_ROPTPARNOTALLWD: Final = 0xC1
ESME_RINVPARLEN: Final = 0xC2
ESME_RMISSINGOPTPARAM: Final = 0xC3
ESME_RINVOPTPARAMVAL: Final = 0xC4
ESME_RDELIVERYFAILURE: Final = 0xFE
ESME_RUNKNOWNERR: Final = 0xFF

_STATUSES: Final = {value: name for name, value in globals().items() if name.startswith("ESME_")}

# --------------------------------------------------------- tags of TLVs (section 5.3.2)

TLV_DEST_ADDR_SUBUNIT: Final = 0x0005
TLV_DEST_NETWORK_TYPE: Final = 0x0006
TLV_DEST_BEARER_TYPE: Final = 0x0007
TLV_DEST_TELEMATICS_ID: Final = 0x0008
TLV_SOURCE_ADDR_SUBUNIT: Final = 0x000D
TLV_SOURCE_NETWORK_TYPE: Final = 0x000E
TLV_SOURCE_BEARER_TYPE: Final = 0x000F
TLV_SOURCE_TELEMATICS_ID: Final = 0x0010
TLV_QOS_TIME_TO_LIVE: Final = 0x0017
TLV_PAYLOAD_TYPE: Final = 0x0019
TLV_ADDITIONAL_STATUS_INFO_TEXT: Final = 0x001D
TLV_RECEIPTED_MESSAGE_ID: Final = 0x001E
TLV_MS_MSG_WAIT_FACILITIES: Final = 0x0030
TLV_PRIVACY_INDICATOR: Final = 0x0201
TLV_SOURCE_SUBADDRESS: Final = 0x0202
TLV_DEST_SUBADDRESS: Final = 0x0203
TLV_USER_MESSAGE_REFERENCE: Final = 0x0204
TLV_USER_RESPONSE_CODE: Final = 0x0205
TLV_SOURCE_PORT: Final = 0x020A
TLV_DESTINATION_PORT: Final = 0x020B
TLV_SAR_MSG_REF_NUM: Final = 0x020C
TLV_LANGUAGE_INDICATOR: Final = 0x020D
TLV_SAR_TOTAL_SEGMENTS: Final = 0x020E
TLV_SAR_SEGMENT_SEQNUM: Final = 0x020F
TLV_SC_INTERFACE_VERSION: Final = 0x0210
TLV_CALLBACK_NUM_PRES_IND: Final = 0x0302
TLV_CALLBACK_NUM_ATAG: Final = 0x0303
TLV_NUMBER_OF_MESSAGES: Final = 0x0304
TLV_CALLBACK_NUM: Final = 0x0381
TLV_DPF_RESULT: Final = 0x0420
TLV_SET_DPF: Final = 0x0421
TLV_MS_AVAILABILITY_STATUS: Final = 0x0422
TLV_NETWORK_ERROR_CODE: Final = 0x0423
TLV_MESSAGE_PAYLOAD: Final = 0x0424
TLV_DELIVERY_FAILURE_REASON: Final = 0x0425
TLV_MORE_MESSAGES_TO_SEND: Final = 0x0426
TLV_MESSAGE_STATE: Final = 0x0427
TLV_USSD_SERVICE_OP: Final = 0x0501
TLV_DISPLAY_TIME: Final = 0x1201
TLV_SMS_SIGNAL: Final = 0x1203
TLV_MS_VALIDITY: Final = 0x1204
TLV_ALERT_ON_MESSAGE_DELIVERY: Final = 0x130C
TLV_ITS_REPLY_TYPE: Final = 0x1380
TLV_ITS_SESSION_INFO: Final = 0x1383

# ------------------------------------------------------------------- esm_class (section 5.2.12)

ESM_CLASS_MODE: Final = 0x03
ESM_CLASS_TYPE: Final = 0x3C
ESM_CLASS_RECEIPT: Final = 0x04
ESM_CLASS_INTERMEDIATE: Final = 0x20
ESM_CLASS_UDHI: Final = 0x40
ESM_CLASS_REPLY_PATH: Final = 0x80

# ------------------------------------------------- message_state (section 5.2.28, appendix B)

ENROUTE: Final = 1
DELIVERED: Final = 2
EXPIRED: Final = 3
DELETED: Final = 4
UNDELIVERABLE: Final = 5
ACCEPTED: Final = 6
UNKNOWN: Final = 7
REJECTED: Final = 8

RECEIPT_TEXT: Final = (
    b"UNKNOWN",  # 0 is no state of SMPP 3.4; here it is "not known"
    b"ENROUTE",
    b"DELIVRD",
    b"EXPIRED",
    b"DELETED",
    b"UNDELIV",
    b"ACCEPTD",
    b"UNKNOWN",
    b"REJECTD",
)
"""What a receipt says after `stat:`, by message_state."""

INTERFACE_VERSION: Final = 0x34


def status_name(command_status: int) -> str:
    """`ESME_RTHROTTLED`, or `0x00000401` for a status that the specification does not name."""
    return _STATUSES.get(command_status) or f"0x{command_status:08x}"


def command_name(command_id: int) -> str:
    """`submit_sm_resp`, or `0x00000111` for a command that the specification does not name."""
    if command_id == GENERIC_NACK:
        return "generic_nack"
    name = _COMMANDS.get(command_id & ~RESPONSE)
    if name is None:
        return f"0x{command_id:08x}"
    return f"{name}_resp" if command_id & RESPONSE else name
