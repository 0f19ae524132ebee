"""Fixtures of the tests with clients that others wrote: the same processes as `tests/daemon`."""

from tests.daemon.stage import module_stage, stage

__all__ = ["module_stage", "stage"]
