"""The levels import one another as top-level modules, as they do where they run."""

import sys
from pathlib import Path

LEVELS = Path(__file__).resolve().parents[3] / "bringup" / "verify" / "levels"
sys.path.insert(0, str(LEVELS))
