"""Fixtures of the whole-process tests."""

from tests.daemon.held import scene
from tests.daemon.stage import module_stage, stage
from tests.daemon.tls import pki

__all__ = ["module_stage", "pki", "scene", "stage"]
