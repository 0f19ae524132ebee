"""The receipt map against a plain dict.

Whatever leaves memory, crashes or is spelled alike: a receipt with the exact id ends exactly its
message, once.
"""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from gateway.relay import rebuild, receipt_map, receipts, runs
from tests.relay.world import World

IDS = st.text("aAbB01", min_size=1, max_size=3).map(str.encode)


class ReceiptMapModel(RuleBasedStateMachine):
    """`waiting` is the model: exact id -> message."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(receipt_map, "RECENT_MAX", 2)
        self.patch.setattr(receipt_map, "OLD_MAX", 2)
        self.patch.setattr(runs, "RUN", 3)
        self.patch.setattr(rebuild, "BITE", 2)
        self.patch.setattr(receipts, "ORPHANS_MAX", 2)
        self.world = World(rebuilds=False)
        self.waiting: dict[bytes, int] = {}
        self.ended: dict[bytes, int] = {}
        self.come_up()

    def come_up(self) -> None:
        self.client = self.world.connect()
        self.link = self.world.bind(window=1_000)
        self.world.settle()

    @rule(carrier_id=IDS)
    def answer(self, carrier_id: bytes) -> None:
        if carrier_id in self.waiting or carrier_id in self.ended:
            return
        message_id = self.world.accepted(self.client)
        self.world.respond(self.link, message_id, carrier_id=carrier_id)
        self.world.settle()
        self.waiting[carrier_id] = message_id

    @rule(data=st.data())
    def receipt(self, data: st.DataObject) -> None:
        if self.waiting:
            carrier_id = data.draw(st.sampled_from(sorted(self.waiting)))
            self.world.receipt(self.link, carrier_id)
            self.world.settle()
            self.ended[carrier_id] = self.waiting.pop(carrier_id)

    @rule()
    def crash(self) -> None:
        self.world.crash()
        self.come_up()

    @rule()
    def pass_time(self) -> None:
        self.world.tick(rebuild.REST_S)

    def teardown(self) -> None:
        while not self.world.core.rebuild.is_done:
            self.world.tick(rebuild.REST_S)
        for message_id in self.ended.values():
            assert "delivered" == self.world.state_of(message_id)
        self.patch.undo()

    @invariant()
    def nothing_else_has_ended(self) -> None:
        for message_id in self.waiting.values():
            assert "submitted" == self.world.state_of(message_id)


ReceiptMapModel.TestCase.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, print_blob=True
)
test_the_receipt_map_is_a_dict = ReceiptMapModel.TestCase
