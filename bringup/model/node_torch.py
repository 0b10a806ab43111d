"""The PyTorch that a node brings along: what a bundle without one wants, and what was taken."""

from __future__ import annotations

import msgspec

NOTE = "node-torch.json"


class TorchWanted(msgspec.Struct, frozen=True, kw_only=True):
    """What the node's PyTorch has to be, part of bundle.json.

    Attributes:
        tag: tag of Python, "cp311".
        torch: `torch.__version__` of the lock's wheel, "2.11.0+cu130".
        cuda: `torch.version.cuda` of it, "13.0"; "none" for one without CUDA.
        left_out: distributions that do not travel: torch, and NVIDIA's libraries that it needs.
    """

    tag: str
    torch: str
    cuda: str
    left_out: tuple[str, ...]

    def __str__(self) -> str:
        """Return the three values in words."""
        return f"Python {self.tag}, torch {self.torch}, CUDA {self.cuda}"


class TorchFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of carried/find_torch.py about one Python.

    Attributes:
        tag: tag of Python.
        python: the program.
        path: folders that it imports from, separated by ":".
        problem: why its torch cannot be used; "" if it can, and then the rest is known.
        site: folder of the package torch.
        torch: `torch.__version__`; likewise `cuda`, `git`.
        cuda: "13.0", or "none".
        git: commit of PyTorch.
    """

    tag: str
    python: str
    path: str
    problem: str
    site: str = ""
    torch: str = ""
    cuda: str = ""
    git: str = ""


class Taken(msgspec.Struct, frozen=True, kw_only=True):
    """A distribution of the node that an environment uses.

    Attributes:
        version: its version.
        site: the node's folder that it is in.
        record: SHA-256 of its RECORD.
        pinned: the lock's version.
    """

    version: str
    site: str
    record: str
    pinned: str


class NodeTorch(msgspec.Struct, frozen=True, kw_only=True):
    """node-torch.json of an environment: which PyTorch of the node it uses, as it was when the environment was made.

    Attributes:
        python: the node's Python; the environment's own runs, of the same tag.
        site: folder of the package torch.
        tag: tag of Python.
        torch: `torch.__version__`; likewise `cuda`, `git`.
        cuda: CUDA that it was built for.
        git: commit of PyTorch.
        version_py: SHA-256 of torch/version.py.
        distributions: what was taken, by name.
        absent: NVIDIA's distributions that the node does not have; its torch has these libraries from elsewhere.
    """

    python: str
    site: str
    tag: str
    torch: str
    cuda: str
    git: str
    version_py: str
    distributions: dict[str, Taken]
    absent: tuple[str, ...] = ()
