"""Fixtures of the whole-process tests."""

from tests.daemon.held import scene
from tests.daemon.stage import module_stage, stage

__all__ = ["module_stage", "scene", "stage"]
