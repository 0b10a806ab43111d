"""Hook of sglang-kernels: runs its two scripts in the build environment, which holds the patched SGLang.

sglang_kernels_triton.py compiles Triton's kernels and launchers, sglang_kernels_prebuild.py the tvm-ffi modules, and
packs both as one wheel, with sglang_kernels_manager.py, which finds Triton's at run time.
"""

from __future__ import annotations

import re
from pathlib import Path

from bringup.model.hooks import HookContext, Progress

SCRIPT = Path(__file__).with_name("sglang_kernels_prebuild.py")
TRITON = Path(__file__).with_name("sglang_kernels_triton.py")
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
    tree = ctx.work / "triton-tree"
    argv: list[str | Path] = [ctx.python, TRITON, "--work", ctx.work / "triton", "--out", tree, "--arch", arch]
    ctx.run(argv, what="compile SGLang's Triton kernels", on_line=on_line)
    argv = [ctx.python, SCRIPT, "--work", ctx.work / "tvm-ffi", "--out", ctx.out, "--arch", arch]
    argv += ["--local", ctx.local, "--jobs", str(ctx.jobs), "--triton", tree]
    ctx.run(argv, what="compile SGLang's JIT kernels", on_line=on_line)
    return sorted(ctx.out.glob("*.whl"))
