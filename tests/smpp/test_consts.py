"""The numbers, against those of a library that others wrote."""

import pytest
from smpp.pdu import constants

from gateway.smpp import consts


def test_every_status_of_the_specification_has_its_number() -> None:
    theirs = {
        name: value
        for name, value in constants.command_status_name_map.items()
        if 0 <= value <= consts.ESME_RUNKNOWNERR
    }
    ours = {name: value for name, value in vars(consts).items() if name.startswith("ESME_")}

    assert theirs == ours


def test_every_command_of_the_specification_has_its_number() -> None:
    theirs = {
        value
        for value in constants.command_id_name_map.values()
        if value & ~consts.RESPONSE <= consts.DATA_SM
    }
    ours = {
        value
        for name, value in vars(consts).items()
        if f"{name}_RESP" in vars(consts) or name.endswith("_RESP")
    } | {consts.GENERIC_NACK, consts.OUTBIND, consts.ALERT_NOTIFICATION}

    assert theirs == ours


def test_every_tag_of_the_specification_has_its_number() -> None:
    theirs = {
        name: value
        for name, value in constants.tag_name_map.items()
        if f"TLV_{name.upper()}" in vars(consts)
    }
    ours = {
        name.removeprefix("TLV_").lower(): value
        for name, value in vars(consts).items()
        if name.startswith("TLV_")
    }

    assert theirs == ours


@pytest.mark.parametrize(
    ("status", "name"),
    [(0x00, "ESME_ROK"), (0x58, "ESME_RTHROTTLED"), (0x401, "0x00000401")],
)
def test_a_status_has_a_name_whatever_it_is(status: int, name: str) -> None:
    assert name == consts.status_name(status)


@pytest.mark.parametrize(
    ("command_id", "name"),
    [
        (consts.SUBMIT_SM, "submit_sm"),
        (consts.SUBMIT_SM_RESP, "submit_sm_resp"),
        (consts.GENERIC_NACK, "generic_nack"),
        (0x111, "0x00000111"),
        (0x80000111, "0x80000111"),
    ],
)
def test_a_command_has_a_name_whatever_it_is(command_id: int, name: str) -> None:
    assert name == consts.command_name(command_id)
