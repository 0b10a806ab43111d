"""Read from an SGLang log what was captured and which steps ran from graphs. Pure text in, facts out."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field
from typing import Any

_SIZES = re.compile(r"Capture cuda graph (bs|num tokens) (\[[\d, ]*\])")
_END = re.compile(r"Capture (cuda graph|piecewise CUDA graph) end\. Time elapsed: ([\d.]+) s\. mem usage=(-?[\d.]+) GB")
_STEP = re.compile(r"(Prefill|Decode) batch.*cuda graph: (True|False)")
_CAPTURE_LINE = re.compile(r"Capture (?:cuda graph|piecewise CUDA graph)(?! \d)")

KEPT_STEPS = 400


@dataclass
class Captured:
    """What a log tells about graphs.

    Attributes:
        decode_sizes: batch sizes of the decode graphs.
        piecewise_sizes: token counts of the piecewise graphs.
        seconds: capture time by kind, "decode" and "piecewise"; a kind is there only if its capture came to its end.
        gigabytes: memory taken by kind.
        steps: number of logged steps by kind and whether from a graph, "Decode True": 5.
        lines: the raw lines of the capture.
        step_lines: the raw lines of the logged steps, as many as `KEPT_STEPS`.
    """

    decode_sizes: list[int] = field(default_factory=list)
    piecewise_sizes: list[int] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    gigabytes: dict[str, float] = field(default_factory=dict)
    steps: dict[str, int] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    step_lines: list[str] = field(default_factory=list)

    def evidence(self) -> dict[str, Any]:
        """The facts as JSON values."""
        return asdict(self)


def read(text: str) -> Captured:
    """Collect the capture lines of `text`; of several ranks that log the same the last one stays."""
    seen = Captured()
    # A progress bar shares its line with what follows it, parted by carriage returns only.
    for line in re.split(r"[\r\n]+", text):
        if sizes := _SIZES.search(line):
            numbers = [int(number) for number in re.findall(r"\d+", sizes[2])]
            if sizes[1] == "bs":
                seen.decode_sizes = numbers
            else:
                seen.piecewise_sizes = numbers
        if end := _END.search(line):
            kind = "decode" if end[1] == "cuda graph" else "piecewise"
            seen.seconds[kind], seen.gigabytes[kind] = float(end[2]), float(end[3])
        if step := _STEP.search(line):
            key = f"{step[1]} {step[2]}"
            seen.steps[key] = seen.steps.get(key, 0) + 1
            if len(seen.step_lines) < KEPT_STEPS:
                seen.step_lines.append(line.strip()[:300])
        elif _CAPTURE_LINE.search(line):
            seen.lines.append(line.strip()[:600])
    return seen
