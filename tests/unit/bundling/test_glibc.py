"""Which C library a bundle needs."""

import pytest

from bringup.bundling.glibc import glibc_of_wheel, highest


@pytest.mark.parametrize(
    ("platform", "glibc"),
    [
        ("manylinux_2_39_x86_64", "2.39"),
        ("manylinux_2_27_x86_64.manylinux_2_28_x86_64", "2.27"),
        ("manylinux2014_x86_64.manylinux_2_17_x86_64", "2.17"),
        ("manylinux2010_x86_64", "2.12"),
        ("manylinux1_x86_64", "2.5"),
        ("linux_x86_64", ""),
        ("any", ""),
    ],
)
def test_a_wheels_name_tells_the_c_library(platform: str, glibc: str) -> None:
    assert glibc_of_wheel(f"some_thing-1.0-py3-none-{platform}.whl") == glibc


def test_the_highest_counts_as_numbers() -> None:
    assert highest(["2.9", "", "2.36", "2.4"]) == "2.36"
    assert highest(["", ""]) == ""
