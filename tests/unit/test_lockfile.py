"""Reading locks, what they hold, and whether they still fit their stack."""

from __future__ import annotations

import string
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bringup.config.lockfile import Header, Lock, Pin, parse_lock, read_lock
from bringup.errors import ConfigError, StorageError
from bringup.model.recipe import Recipe
from bringup.model.stack import Stack
from bringup.planning.locking import OVERRIDES, check_lock, lock_inputs, render_lock

A, B = "sha256:" + "a" * 64, "sha256:" + "b" * 64
PATH = Path("kernels.lock")
HEADER = f"""\
# bringup-lock: 1
# stack: kernels
# date: 2026-05-28
# python: 3.11
# platform: x86_64-manylinux_2_34
# inputs: {"0" * 64}
# Made by hand.
"""
BODY = f"""\
numpy==2.3.5 \\
    --hash={A} \\
    --hash={B}
    # via
    #   -r build-flashinfer.in
    #   torch
Torch==2.11.0+cu130 \\
    --hash={A}
    # via -r packages.in
typing_extensions==4.15.0 ; python_version < "3.13" \\
    --hash={B}
    # via
    #   --override overrides.in
    #   torch
    #   Numpy
six==1.17.0 \\
    --hash={B}
"""


def test_pins_have_version_hashes_marker_and_who_asked() -> None:
    lock = parse_lock(HEADER + BODY, PATH)
    assert list(lock.pins) == ["numpy", "six", "torch", "typing-extensions"]
    assert lock.pins["numpy"] == Pin(
        name="numpy", version="2.3.5", hashes=(A, B), via=("-r build-flashinfer.in", "torch"), marker=""
    )
    assert lock.pins["torch"].version == "2.11.0+cu130"
    assert lock.pins["typing-extensions"].marker == 'python_version < "3.13"'
    assert lock.pins["typing-extensions"].via == ("--override overrides.in", "torch", "numpy")
    assert lock.header == Header(
        stack="kernels", date="2026-05-28", python="3.11", platform="x86_64-manylinux_2_34", inputs="0" * 64
    )


def test_closure_follows_the_comments() -> None:
    lock = parse_lock(HEADER + BODY, PATH)
    assert [pin.name for pin in lock.closure(["torch"])] == ["numpy", "torch", "typing-extensions"]
    assert [pin.name for pin in lock.closure(["NumPy>=2", "six"])] == ["numpy", "six", "typing-extensions"]
    assert lock.closure([]) == ()


def test_closure_ends_in_a_circle() -> None:
    body = f"a==1 \\\n    --hash={A}\n    # via b\nb==1 \\\n    --hash={A}\n    # via a\n"
    assert [pin.name for pin in parse_lock(HEADER + body, PATH).closure(["a"])] == ["a", "b"]


def test_closure_names_what_the_lock_does_not_have() -> None:
    with pytest.raises(ConfigError, match=r"kernels\.lock has no cmake, ninja") as caught:
        parse_lock(HEADER + BODY, PATH).closure(["ninja>=1.11", "torch", "cmake"])
    assert caught.value.hint == "invoke lock --stack kernels"


def test_without_leaves_out_what_is_built_here() -> None:
    lock = parse_lock(HEADER + BODY, PATH)
    assert [pin.name for pin in lock.without(["torch", "Typing.Extensions"])] == ["numpy", "six"]


def test_text_is_a_requirements_file() -> None:
    lock = parse_lock(HEADER + BODY, PATH)
    assert lock.text([lock.pins["numpy"], lock.pins["typing-extensions"]]) == (
        f"numpy==2.3.5 \\\n    --hash={A} \\\n    --hash={B}\n"
        f'typing-extensions==4.15.0 ; python_version < "3.13" \\\n    --hash={B}\n'
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (BODY, "the header says bringup-lock nothing"),
        (HEADER.replace("lock: 1", "lock: 7") + BODY, "the header says bringup-lock 7; this version reads 1"),
        (HEADER.replace("# inputs", "# input") + BODY, "does not say inputs"),
        (HEADER + "numpy==2.3.5\n    # via -r packages.in\n", "numpy has no hash"),
        (HEADER + BODY + f"six==1.17.0 \\\n    --hash={A}\n", "six is pinned twice"),
        (HEADER + f"six==1.17.0 \\\n    --hash={A} \\\n", "six ends in the middle"),
        (HEADER + "six==1.17.0 \\\n    --hash=sha256:12\n", "'--hash=sha256:12' is neither a pin"),
        (HEADER + "six>=1.17\n", "'six>=1.17' is neither a pin"),
        (HEADER + "--index-url somewhere\n", "'--index-url somewhere' is neither a pin"),
        (HEADER + f"six==1 \\\n    --hash={A}\n    # via torch\n", "six is wanted by torch, which is not in the lock"),
    ],
)
def test_what_is_wrong_is_named(text: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_lock(text, PATH)
    assert problem in caught.value.message
    assert caught.value.hint == "invoke lock --stack kernels"


def test_a_file_that_is_not_there_or_not_text(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="No such file"):
        read_lock(tmp_path / "kernels.lock")
    (tmp_path / "kernels.lock").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="not text"):
        read_lock(tmp_path / "kernels.lock")


names = st.text(string.ascii_lowercase + string.digits, min_size=1, max_size=6)
hashes = st.lists(st.text("0123456789abcdef", min_size=64, max_size=64), min_size=1, max_size=3, unique=True)


@st.composite
def pin_sets(draw: st.DrawFn) -> dict[str, Pin]:
    chosen = draw(st.lists(names, min_size=1, max_size=8, unique=True))
    return {
        name: Pin(
            name=name,
            version=draw(st.sampled_from(["1", "2.0.post1", "1!3", "0.6.8+cu130", "4.0.0b15"])),
            hashes=tuple(f"sha256:{one}" for one in draw(hashes)),
            via=tuple(draw(st.lists(st.sampled_from([*chosen, "-r packages.in"]), max_size=3, unique=True))),
            marker=draw(st.sampled_from(["", 'sys_platform == "linux"'])),
        )
        for name in sorted(chosen)
    }


def written(pins: dict[str, Pin]) -> str:
    blocks = []
    for pin in pins.values():
        via = "    # via\n" + "".join(f"    #   {one}\n" for one in pin.via) if pin.via else ""
        blocks.append(pin.text() + via)
    return HEADER + "".join(blocks)


@given(pin_sets())
def test_what_is_written_is_read(pins: dict[str, Pin]) -> None:
    lock = parse_lock(written(pins), PATH)
    assert lock.pins == pins
    again = parse_lock(HEADER + lock.text(), PATH)
    assert {name: (pin.version, pin.hashes, pin.marker) for name, pin in again.pins.items()} == {
        name: (pin.version, pin.hashes, pin.marker) for name, pin in pins.items()
    }


@given(pin_sets(), st.data())
def test_a_closure_is_closed_and_no_larger_than_it_must_be(pins: dict[str, Pin], data: st.DataObject) -> None:
    lock = parse_lock(written(pins), PATH)
    roots = data.draw(st.lists(st.sampled_from(sorted(pins)), unique=True))
    found = {pin.name for pin in lock.closure(roots)}
    assert found >= set(roots)
    assert all(pin.name in found for pin in pins.values() if set(pin.via) & found)
    assert all(set(pins[name].via) & found or name in roots for name in found)


@given(st.text(max_size=200), st.integers(0, len(BODY)))
def test_anything_else_is_a_named_error(noise: str, where: int) -> None:
    try:
        lock = parse_lock(HEADER + BODY[:where] + noise + BODY[where:], PATH)
    except ConfigError:
        return
    assert isinstance(lock, Lock)


def recipe(name: str, **more: Any) -> Recipe:
    wheel = {"kind": "wheel", "project": name, "sha256": "0" * 64}
    sdist = {"kind": "sdist", "project": name, "sha256": "0" * 64}
    git = {"kind": "git", "url": "https://example.invalid/x", "tag": "v1", "commit": "unrecorded"}
    data: dict[str, Any] = {
        "schema": 1, "name": name, "distribution": name, "module": name, "summary": "x", "homepage": "x",
        "license": "MIT", "build": {"backend": "pep517", "requires": ["setuptools", "wheel"]},
        "versions": [{"version": "1.0", "sources": {"wheel": wheel, "sdist": sdist, "git": git}}],
    }  # fmt: skip
    return msgspec.convert(data | more, Recipe)


def stack(packages: dict[str, Any], **more: Any) -> Stack:
    data: dict[str, Any] = {
        "schema": 1, "name": "kernels", "title": "x", "date": "2026-05-28", "python": "3.11", "cuda": ["13.0"],
        "toolkits": ["wheels"], "packages": packages,
    }  # fmt: skip
    return msgspec.convert(data | more, Stack)


def test_inputs_are_pins_roots_build_requirements_and_overrides() -> None:
    recipes = {"torch": recipe("torch"), "flash": recipe("flash", distribution="flash-python")}
    inputs = lock_inputs(
        stack(
            {"torch": {"version": "1.0", "source": "wheel"}, "flash": {"version": "1.0", "source": "sdist"}},
            requirements={"roots": ["cmake<4"], "overrides": ["six==1.17.0"], "exclude": ["cubin"]},
        ),
        recipes,
    )
    assert inputs.files() == {
        "packages.in": "torch==1.0\nflash-python==1.0\n",
        "stack.in": "cmake<4\n",
        "build-flash.in": "setuptools\nwheel\n",  # a published wheel needs nothing to be built
        OVERRIDES: 'six==1.17.0\ncubin ; sys_platform == "never"\n',
    }
    assert inputs.before == "2026-05-29T00:00:00Z"


def test_build_requirements_of_all_conditions_that_stay_open() -> None:
    one = recipe(
        "sglang",
        when=[
            {"version": "<1", "requires": ["too-old"]},
            {"sources": ["wheel"], "requires": ["other-source"]},
            {"variants": ["lean"], "requires": ["lean-tool"]},
            {"variants": ["rust"], "requires": ["setuptools-rust"]},
            {"cuda": ">=12.8", "capability": ">=10.0", "requires": ["blackwell-tool"]},
        ],
        variants={"rust": {"summary": "x", "fallback": "lean"}, "lean": {"summary": "x", "requires": ["lean-build"]}},
    )

    def requires(variant: str) -> tuple[str, ...]:
        packages = {"sglang": {"version": "1.0", "source": "git", "variant": variant}}
        return lock_inputs(stack(packages), {"sglang": one}).requirements["build-sglang.in"]

    both = ("setuptools", "wheel", "lean-build", "lean-tool", "setuptools-rust", "blackwell-tool")
    assert requires("") == both
    assert requires("rust") == both
    assert requires("lean") == ("setuptools", "wheel", "lean-build", "lean-tool", "blackwell-tool")


def test_a_lock_fits_until_something_changes() -> None:
    recipes = {"torch": recipe("torch", distribution="torch")}
    packages = {"torch": {"version": "1.0", "source": "wheel"}}
    inputs = lock_inputs(stack(packages), recipes)
    body = f"torch==1.0 \\\n    --hash={A}\n    # via -r packages.in\n"
    lock = parse_lock(render_lock(inputs, body), PATH)
    check_lock(lock, inputs)
    check_lock(lock, lock_inputs(stack(packages, title="another", download_mib=7), recipes))  # not an input

    def message(changed: Stack) -> str:
        with pytest.raises(ConfigError) as caught:
            check_lock(lock, lock_inputs(changed, recipes))
        assert caught.value.hint == "invoke lock --stack kernels"
        return caught.value.message

    assert message(stack(packages, date="2026-06-01")).endswith("date is 2026-06-01 and was 2026-05-28")
    assert "six==1.17.0 is not in it" in message(stack(packages, requirements={"overrides": ["six==1.17.0"]}))
    assert "it has torch 1.0, wanted is torch>1" in message(stack(packages, requirements={"roots": ["torch>1"]}))
    assert "it has torch, which the stack leaves out" in message(stack(packages, requirements={"exclude": ["torch"]}))
    hidden = message(stack(packages, requirements={"exclude": ["cubin"]}))
    assert hidden.endswith("build requirements or overrides")


def test_the_order_of_lines_is_no_change() -> None:
    recipes = {"torch": recipe("torch")}
    packages = {"torch": {"version": "1.0", "source": "wheel"}}
    first = lock_inputs(stack(packages, requirements={"roots": ["a", "b"]}), recipes)
    second = lock_inputs(stack(packages, requirements={"roots": ["b", "a"]}), recipes)
    assert first.digest == second.digest
    assert first.digest != lock_inputs(stack(packages, requirements={"overrides": ["a", "b"]}), recipes).digest
