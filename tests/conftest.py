"""Makes the helpers in tests/ importable from every test, and sets how many examples hypothesis tries."""

from __future__ import annotations

import sys
from pathlib import Path

from hypothesis import HealthCheck, settings

sys.path.insert(0, str(Path(__file__).resolve().parent))

from sharing import pytest_addoption, pytest_runtestloop
from thorough import examples

__all__ = ["pytest_addoption", "pytest_runtestloop"]

# How long an example takes says more about what else runs on the machine.
settings.register_profile(
    "bringup", max_examples=examples(100), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("bringup")
