"""What a bundle knows of the machine that it was made on, so that its plan is the same plan where it is installed."""

from __future__ import annotations

import msgspec

from bringup.model.node_torch import TorchWanted

FILE = "bundle.json"
SCHEMA = 1


class Frozen(msgspec.Struct, frozen=True, kw_only=True):
    """The content of bundle.json.

    Attributes:
        schema: version of this shape.
        target: target id.
        gpu: GPU name.
        stack: stack name.
        cuda: CUDA release line.
        toolkit: provider of the toolkit; its identity enters the plan even where it does not travel.
        variants: variants that were asked for.
        full: whether the whole kernel set was built.
        python: identity of Python in fingerprints; likewise `nvcc` and `gcc`.
        nvcc: identity of the toolkit.
        gcc: identity of the host compiler that the wheels were built with.
        environment: fingerprint of the environment.
        with_toolkit: the toolkit travels.
        sources: the bundle holds sources to build from, and no environment is made when it is installed.
        only: packages that it can build; all if empty.
        driver: lowest driver that runs the stack's machine code; "0" for a stack without CUDA.
        glibc: lowest C library of what travels.
        machine: CPU architecture.
        date: when it was made.
        version: version of bringup that made it.
        title: name of the GPU for people.
        capability: its compute capability as nvidia-smi prints it, "9.0".
        node_torch: what the node's own PyTorch has to be; None where PyTorch travels.
    """

    schema: int
    target: str
    gpu: str
    stack: str
    cuda: str
    toolkit: str
    variants: dict[str, str]
    full: bool
    python: str
    nvcc: str
    gcc: str
    environment: str
    with_toolkit: bool
    driver: str
    glibc: str
    machine: str
    date: str
    version: str
    sources: bool = False
    only: tuple[str, ...] = ()
    title: str = ""
    capability: str = ""
    node_torch: TorchWanted | None = None
