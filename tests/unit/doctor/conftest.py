import sys
from pathlib import Path

# The writer of small ELF files is shared with the tests of the readers.
sys.path.append(str(Path(__file__).resolve().parents[1] / "formats"))
