"""smppgate: an SMPP gateway daemon for US A2P text messages.

Start reading at gateway/daemon/flow.py; ARCHITECTURE.md is the map. This file holds the version,
in the one place where it is written.
"""

__version__ = "0.1.0"
