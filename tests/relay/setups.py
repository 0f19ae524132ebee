"""Setups for the simulated gateway: clients, carriers, routes, and a registry, as values."""

from typing import NamedTuple

from gateway.model.view import View
from gateway.relay.lanes import WorkingSet
from gateway.relay.parties import Carrier, Client, Match, Route
from gateway.relay.receipt_map import Mode
from gateway.relay.state import Policy, State
from gateway.relay.turn import TurnMachine
from gateway.throttle.limit import Limit

DAY_S = 86_400.0
HOUR_S = 3_600.0

COMPANIES = """
[[company]]
id = "acme"

[[brand]]
id = "BACME01"
company = "acme"
identity_status = "VERIFIED"

[[company]]
id = "other"

[[brand]]
id = "BOTHER1"
company = "other"
identity_status = "VERIFIED"
"""


def campaign(name: str, *numbers: str, **fields: str) -> str:
    """A [[campaign]] as TOML; the fields are written as they are given."""
    settings = {
        "brand": '"BACME01"',
        "use_case": '"ACCOUNT_NOTIFICATION"',
        "status": '"ACTIVE"',
        "limits": "[]",
        "numbers": str([f"+{number}" for number in numbers]),
    } | fields
    lines = [f"{key} = {value}" for key, value in settings.items()]
    return "\n".join(["[[campaign]]", f'id = "{name}"', *lines, ""])


def limits(*entries: tuple[str, float], at_cap: str = "hold", zone: str = "") -> str:
    """The value of `limits`: ("second", 50), ("day", 2000)."""
    tables = [
        f'{{ per = "{per}", segments = {segments}, at_cap = "{at_cap}"'
        + (f', zone = "{zone}"' if zone and per == "day" else "")
        + " }"
        for per, segments in entries
    ]
    return f"[{', '.join(tables)}]"


NUMBER = "12025550100"
SLOW_NUMBER = "12025550110"

REGISTRY = COMPANIES + campaign("CFAST01", NUMBER, "12025550101")


class Shop(NamedTuple):
    """A client."""

    name: str = "shop"
    company: str = "acme"
    queue_limit: int = 10_000
    deliver_window: int = 10


class Smsc(NamedTuple):
    """A carrier."""

    name: str = "carrier-a"
    tps: float | None = None
    always_receipts: bool = True
    receipt_timeout_s: float = 72 * HOUR_S
    throttle_pause_s: float = 1.0
    receipt_id_mode: Mode = "same"


class Way(NamedTuple):
    """A route."""

    name: str = "us"
    carriers: tuple[tuple[str, float], ...] = (("carrier-a", 1.0),)
    backup: tuple[str, ...] = ()
    match: Match = Match(to=b"1")


class Setup(NamedTuple):
    """A whole configuration."""

    clients: tuple[Shop, ...] = (Shop(),)
    carriers: tuple[Smsc, ...] = (Smsc(),)
    routes: tuple[Way, ...] = (Way(),)
    registry: str = REGISTRY
    policy: Policy = Policy()
    working_set: int = 1_000

    def build(self, view: View, machine: TurnMachine) -> State:
        """The state of a core before it has read the disk."""
        state = State(view=view, machine=machine, policy=self.policy, working_set=self.working_set)
        for shop in self.clients:
            state.clients[shop.name] = Client(
                name=shop.name,
                company=shop.company,
                queue_limit=shop.queue_limit,
                deliver_window=shop.deliver_window,
            )
        for smsc in self.carriers:
            state.carriers[smsc.name] = _carrier(smsc, self.policy)
        for way in self.routes:
            primary = [(state.carriers[name], weight) for name, weight in way.carriers]
            backup = [state.carriers[name] for name in way.backup]
            state.add_route(Route(way.name, way.match, primary, backup))
        assert isinstance(state.working, WorkingSet)
        return state


def _carrier(smsc: Smsc, policy: Policy) -> Carrier:
    rate = None
    if smsc.tps is not None:
        key = b"carrier\0" + smsc.name.encode()
        rate = Limit(key=key, per="second", segments=smsc.tps, guard_s=policy.guard_s)
    return Carrier(
        smsc.name,
        rate=rate,
        always_receipts=smsc.always_receipts,
        receipt_timeout_s=smsc.receipt_timeout_s,
        throttle_pause_s=smsc.throttle_pause_s,
        receipt_id_mode=smsc.receipt_id_mode,
    )
