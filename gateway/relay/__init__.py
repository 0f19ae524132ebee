"""A message's life, pure: admit, schedule, answers, receipts, inbound, outbox, recover; the turn."""
