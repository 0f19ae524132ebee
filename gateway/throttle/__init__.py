"""How fast, and how much a day: exact sliding windows and daily counters. Pure."""
