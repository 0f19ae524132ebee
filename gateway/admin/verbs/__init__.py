"""What each verb of `ctl` does, one module a noun; `table` joins them to their names."""
