"""SMPP 3.4 without I/O: codec, framing, session, window, TLVs, times, segments, receipts."""
