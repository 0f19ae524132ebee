"""The text of a registry file becomes records, or the whole list of what is wrong with it."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.registry.importer import Import, parse
from gateway.registry.records import DEFAULT_ZONE, Limit

CONTRACT = (Path(__file__).parent.parent / "contract" / "registry.toml").read_text()


def faults(text: str) -> list[str]:
    return [str(fault) for fault in parse(text).faults]


def campaign(*lines: str) -> str:
    """A file with one campaign, and what these lines add to it."""
    head = '[[campaign]]\nid = "C1"\nbrand = "B1"\nstatus = "ACTIVE"\n'
    use_case = "" if any(line.startswith("use_case") for line in lines) else 'use_case = "2FA"\n'
    limits = "" if any("limits" in line for line in lines) else "limits = []\n"
    return head + use_case + limits + "\n".join(lines)


def test_the_contract_file_is_accepted_as_it_stands() -> None:
    import_ = parse(CONTRACT)

    assert import_.faults == ()
    assert import_.warnings == ()
    assert list(import_.companies) == ["acme"]
    assert list(import_.brands) == ["BACME01"]
    assert list(import_.numbers) == [b"12025550190"]
    fast, slow = import_.campaigns.values()
    assert fast.limits == ()
    assert fast.numbers == ("+12025550100", "+12025550101")
    assert slow.limits == (
        Limit(per="second", segments=50),
        Limit(per="day", segments=2000, zone=DEFAULT_ZONE, at_cap="hold"),
    )
    assert (slow.in_doubt, slow.quiet_hours, slow.type) == ("hold", "off", "10dlc")


def test_only_what_sending_needs_is_required() -> None:
    text = "[[company]]\n[[brand]]\n[[campaign]]\n[[number]]\n"

    assert [fault.split(":")[0] for fault in faults(text)] == [
        "company[0].id",
        "brand[0].id",
        "brand[0].company",
        "brand[0].identity_status",
        "campaign[0].id",
        "campaign[0].brand",
        "campaign[0].use_case",
        "campaign[0].status",
        "number[0].number",
    ]


def test_a_vendors_spelling_of_a_use_case_is_accepted() -> None:
    text = campaign('use_case = "MIXED"', 'sub_use_cases = ["LOW_VOLUME_MIXED", "2FA"]')

    import_ = parse(text)

    assert import_.faults == ()
    assert import_.campaigns["C1"].sub_use_cases == ("LOW_VOLUME", "2FA")


def test_a_day_without_a_zone_is_a_day_in_los_angeles() -> None:
    (limit,) = (
        parse(campaign('limits = [{ per = "day", segments = 5 }]')).campaigns["C1"].limits or ()
    )

    assert limit.zone == "America/Los_Angeles"


def test_a_message_may_have_lines_but_an_id_may_not() -> None:
    assert parse(campaign('help_message = "one\\ntwo"')).faults == ()
    assert "control character" in faults('[[company]]\nid = "a\\nb"')[0]


WRONG = [
    ('use_case = "2FAA"', 'campaign "C1".use_case: "2FAA" is no use case; did you mean 2FA?'),
    ('sub_use_cases = ["X"]', 'campaign "C1".sub_use_cases[0]: "X" is no use case'),
    ('status = "LIVE"', "Cannot overwrite a value"),
    ('carriers = { "*" = "YES" }', 'campaign "C1".carriers."*": must be one of "PENDING"'),
    ('carriers = ["*"]', 'campaign "C1".carriers: must be a table'),
    ('numbers = ["12025550100"]', 'numbers[0]: must be a number such as "+12025550100"'),
    ("limits = 5", "limits: must be a list of tables"),
    ('limits = [{ per = "hour", segments = 1 }]', "limits[0].per: must be one of"),
    ('limits = [{ per = "day" }]', "limits[0].segments: is missing"),
    ('limits = [{ per = "day", segments = -1 }]', "limits[0].segments: must be at least 0"),
    ('limits = [{ per = "day", segments = 1.5 }]', "limits[0].segments: must be a whole number"),
    (
        'limits = [{ per = "day", segments = 1, zone = "Pacific" }]',
        'limits[0].zone: "Pacific" is no time zone; write zone = "America/Los_Angeles"',
    ),
    ('limits = [{ per = "day", segments = 1, zone = "../x" }]', "is no time zone"),
    ('limits = [{ per = "day", segments = 1, zone = "America" }]', "is no time zone"),
    (f'limits = [{{ per = "day", segments = 1, zone = "{"x" * 200}" }}]', "is no time zone"),
    (
        'limits = [{ per = "second", segments = 1, zone = "UTC" }]',
        "zone: belongs to a limit per day",
    ),
    ('limits = [{ per = "minute", segments = 1, reserve = 1 }]', "reserve: belongs to a limit"),
    ('in_doubt = "drop"', 'campaign "C1".in_doubt: must be one of "resend", "hold", "fail"'),
    ('help_mesage = "x"', "help_mesage: is not a key of this table; did you mean help_message?"),
]


@pytest.mark.parametrize(("line", "fault"), WRONG, ids=[line[:50] for line, _ in WRONG])
def test_a_mistake_in_a_campaign_is_named_with_its_path(line: str, fault: str) -> None:
    found = faults(campaign(line))

    assert len(found) == 1, found
    assert fault in found[0]


def test_what_is_there_twice_is_a_fault() -> None:
    text = CONTRACT + CONTRACT.replace("[[", "\n[[")

    assert [fault.split(";")[0] for fault in faults(text)] == [
        'company "acme": is there more than once',
        'brand "BACME01": is there more than once',
        'campaign "CFAST01": is there more than once',
        'campaign "CSLOW01": is there more than once',
        'number "12025550190": is there more than once',
    ]


def test_every_fault_is_listed_at_once() -> None:
    text = 'nonsense = 1\n[[brand]]\nid = "B"\n[[number]]\nnumber = "x"\n'

    assert [fault.split(":")[0] for fault in faults(text)] == [
        'brand "B".company',
        'brand "B".identity_status',
        'number "x".number',
        "nonsense",
    ]


@pytest.mark.parametrize(
    ("lines", "path"),
    [
        (['limits = [{ per = "day", segments = 1, network = "att" }]'], "limits[0].network"),
        (['limits = [{ per = "day", segments = 1, scope = "number" }]'], "limits[0].scope"),
        (['limits = [{ per = "day", segments = 1, reserve = 1 }]'], "limits[0].reserve"),
        (['quiet_hours = "federal"'], "quiet_hours"),
    ],
)
def test_what_is_read_but_not_yet_obeyed_is_a_warning(lines: list[str], path: str) -> None:
    import_ = parse(campaign(*lines))

    assert import_.faults == ()
    assert [warning.path for warning in import_.warnings] == [f'campaign "C1".{path}']


def test_a_campaign_without_limits_is_a_warning_that_names_it_and_them() -> None:
    (warning,) = parse(campaign().replace("limits = []\n", "")).warnings

    assert warning.path == 'campaign "C1"'
    assert "240 segments a minute and 2,000 a day" in str(warning)


def never_raises(text: str) -> Import:
    import_ = parse(text)
    assert all(str(finding) for finding in import_.faults + import_.warnings)
    return import_


@given(st.text())
def test_no_text_makes_it_raise(text: str) -> None:
    never_raises(text)


def test_what_is_not_toml_is_one_fault() -> None:
    assert "line 1" in faults("[[company]")[0]
    assert "nested too deep" in faults("a = " + "[" * 100_000)[0]
    assert "not UTF-8" in faults("a = '\udc80'")[0]


VALUES = (
    '-1 0 1.5 nan inf "" "x" "a\\u0001" true [] [[]] [{}] {} {a=1} ["x","y"] [1] "+12025550100"'
    ' 1979-05-27 0xffffffffffffffffffff "*" {"*"="APPROVED"} [{per="day",segments=1}] "/etc"'
)


@given(st.data())
def test_no_value_of_any_key_makes_it_raise(data: st.DataObject) -> None:
    lines = CONTRACT.splitlines()
    keys = [place for place, line in enumerate(lines) if " = " in line and line[0] != "#"]
    for place in data.draw(st.lists(st.sampled_from(keys), min_size=1, max_size=5, unique=True)):
        key = lines[place].partition(" ")[0]
        lines[place] = f"{key} = {data.draw(st.sampled_from(VALUES.split()))}"
    never_raises("\n".join(lines))
