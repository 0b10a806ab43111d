"""The console program: reads the words, runs one task, ends with our exit codes; no traceback for what users can mend.

Start-up counts: nothing is imported here but what every task needs, and a plain command line does without invoke.
"""

from __future__ import annotations

import gc
import io
import sys

from bringup.tasks import TASKS
from bringup.words import fold_positionals, read_plain


def main(argv: list[str] | None = None) -> None:
    """Run the console program and end the process."""
    # Importing makes tens of thousands of lasting objects; looking through them again and again for garbage takes
    # longer than reading all data files.
    gc.set_threshold(50_000)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a compiler's quotes must end no task where the locale has none
            stream.reconfigure(errors="replace")
    words = fold_positionals(list(sys.argv if argv is None else argv))
    plain = read_plain(words, TASKS)
    if plain is None:
        from bringup.program import run_program  # noqa: PLC0415 - invoke takes longer to import than a plan to make

        run_program(words)
        return
    task, values = plain
    sys.exit(task.perform(values))


if __name__ == "__main__":
    main()
