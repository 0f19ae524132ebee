"""Room: how much can still be written, as the store tells the core."""

from typing import Literal

Room = Literal["plenty", "low", "none"]
"""`low` refuses new messages; `none` refuses what carriers bring, too."""
