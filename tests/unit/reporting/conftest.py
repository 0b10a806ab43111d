import sys
from pathlib import Path

# The machine in a folder is shared with the tests of doctor, the writer of ELF files with those of the readers.
for name in ("formats", "doctor"):
    sys.path.append(str(Path(__file__).resolve().parents[1] / name))
