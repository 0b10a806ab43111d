"""Hook of sglang-kernels: runs sglang_kernels_prebuild.py in the build environment, which holds the patched SGLang."""

from __future__ import annotations

import re
from pathlib import Path

from bringup.model.hooks import HookContext, Progress

SCRIPT = Path(__file__).with_name("sglang_kernels_prebuild.py")
BUILT = re.compile(r"^\s*[0-9.]+ s  (\S+)$")


def build(ctx: HookContext) -> list[Path]:
    """Compile the kernels that recipes/sglang_kernels_prebuild.toml lists and pack them as one wheel.

    Raises:
        BuildError: a kernel does not compile.
    """
    done = 0

    def on_line(line: str) -> None:
        nonlocal done
        built = BUILT.match(line)
        if built:
            done += 1
            ctx.progress(Progress(done=done, total=0, now=built[1]))

    # SGLang asks for its kernels by the plain capability of the GPU, without the suffix of sm_90a.
    arch = ctx.arch["flashinfer"].rstrip("af")
    argv: list[str | Path] = [ctx.python, SCRIPT, "--work", ctx.work / "tvm-ffi", "--out", ctx.out, "--arch", arch]
    argv += ["--local", ctx.local, "--jobs", str(ctx.jobs)]
    ctx.run(argv, what="compile SGLang's JIT kernels", on_line=on_line)
    return sorted(ctx.out.glob("*.whl"))
