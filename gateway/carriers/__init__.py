"""Sessions to the carriers."""
