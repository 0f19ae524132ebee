"""Fixtures of the tests with faults."""

from tests.daemon.stage import module_stage, stage

__all__ = ["module_stage", "stage"]
