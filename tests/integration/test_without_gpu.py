"""A stack without CUDA for computers without a GPU: built, installed and verified like any other."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from helpers.data_root import write_data
from helpers.program import Program
from helpers.sdists import local_recipe

# `VALUE = ...` is what the module gets; what it is made from here continues as the facts of a PyTorch.
TORCH = """
class Facts:
    def __repr__(self):
        return "1\\nclass version:\\n    cuda = {cuda}\\n    git_version = 'abc'"
VALUE = Facts()
"""
CPU = ("--gpu", "cpu")


def program_with_torch(folder: Path, cuda: str) -> Program:
    torch = local_recipe(folder / "src", "torch", during_build=TORCH.format(cuda=cuda))
    alpha = local_recipe(folder / "src", "alpha", needs=("pytorch",))
    recipes = (dataclasses.replace(torch, name="pytorch"), alpha)
    data = write_data(folder / "data", *recipes, gpus=("cpu", "h200"))
    recipe = data / "recipes/pytorch.toml"
    text = recipe.read_text()
    for key in ("distribution", "module"):
        text = text.replace(f'{key} = "pytorch"', f'{key} = "torch"')
    recipe.write_text(text)
    stack = data / "recipes/stacks/tiny.toml"
    stack.write_text(stack.read_text().replace("lock = ", "accelerator = false\nlock = "))
    return Program.at(folder, data)


def test_it_is_built_and_verified_and_nothing_speaks_of_a_gpu(tmp_path: Path):
    program = program_with_torch(tmp_path, "None")
    text = " ".join(program.run("build", target=CPU).text.split())
    assert "static OK, import OK, torch SKIPPED" in text
    assert "the target is a computer without a GPU" in text
    assert "carry it to a machine with the GPU" not in text
    assert "next a shell in it: invoke shell --gpu cpu --stack tiny" in text
    (evidence,) = program.build_dir.glob("cpu-cp311/verify.json")
    levels = {level["level"]: level for level in json.loads(evidence.read_text())["levels"]}
    checks = {check["id"]: check for check in levels["import"]["checks"]}
    assert checks["import.torch-cuda"]["why"] == "torch was built without CUDA"
    exports = program.run("env", target=CPU).out
    assert "BRINGUP_TARGET=cpu-cp311" in exports
    assert "ARCH_LIST" not in exports
    assert "cpu-cp311" in program.popen("stats", "--build-dir", str(program.build_dir)).communicate()[0]
    assert "is built without CUDA, and h200 is NVIDIA H200" in program.run("plan", code=3).err


def test_a_torch_with_cuda_is_not_what_was_asked_for(tmp_path: Path):
    text = program_with_torch(tmp_path, "'13.0'").run("build", target=CPU, code=9).text
    assert "torch was built for CUDA 13.0 and the target is without it" in " ".join(text.split())
