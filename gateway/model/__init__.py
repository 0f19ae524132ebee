"""Values that every layer shares: ids, now, records, states, outcomes, tables, the view of the disk."""
