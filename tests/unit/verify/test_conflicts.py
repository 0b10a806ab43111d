"""Requirements that an environment does not meet, from METADATA as distributions have it."""

from __future__ import annotations

import email.parser
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bringup.model.stack import Stack
from bringup.verify.conflicts import _fields, find_conflicts

STACK = {
    "schema": 1, "name": "s", "title": "S", "date": "2026-01-01", "python": "3.11", "cuda": ["13.0"],
    "toolkits": ["wheels"], "packages": {},
}  # fmt: skip
HEAD = "Metadata-Version: 2.1\n"


def site(folder: Path, **metadata: str) -> Path:
    place = folder / "lib/python3.11/site-packages"
    for name, text in metadata.items():
        (place / f"{name}-1.dist-info").mkdir(parents=True)
        (place / f"{name}-1.dist-info/METADATA").write_text(text)
    return place


@pytest.mark.parametrize(
    ("wants", "unexpected"),
    [
        ("beta", []),
        ("beta>=2", ["alpha 1 wants beta>=2, and 1 is installed"]),
        ("gamma", ["alpha 1 wants gamma, which is not installed"]),
        ("gamma; python_version < '3.0'", []),
        ("gamma; extra == 'more'", []),
        ('gamma>1 ; python_version >= "3" and extra == "more"', []),
        ("gamma; extra == 'more' or python_version >= '3'", ["alpha 1 wants gamma, which is not installed"]),
        ("gamma; extra == ''", ["alpha 1 wants gamma, which is not installed"]),
        ("gamma; extra != 'more'", ["alpha 1 wants gamma, which is not installed"]),
        ("no requirement at all !", []),
        ("Be-ta [x] >= 2 ;\n python_version >= '3'", ["alpha 1 wants Be-ta>=2, which is not installed"]),
    ],
)
def test_what_is_missing_or_of_another_version(tmp_path: Path, wants: str, unexpected: list[str]):
    place = site(
        tmp_path,
        alpha=f"{HEAD}Name: alpha\nVersion: 1\nRequires-Dist: {wants}\n\nRequires-Dist: nothing\n",
        beta=f"{HEAD}Name: Beta\nVersion: 1\nSummary: with: colon\n",
    )
    stack = msgspec.convert(STACK, Stack)
    assert find_conflicts(place, stack) == ([], unexpected)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["Name", "VERSION", "Requires-Dist", "Summary"]),
            st.text("ab:;=<> \t.", max_size=12).map(str.strip),
            st.lists(st.text("xy: ", min_size=1, max_size=5), max_size=2),
        ),
        max_size=6,
    ),
    st.text("ab:\n", max_size=20),
)
def test_fields_are_those_that_the_standard_library_reads(fields: list[tuple[str, str, list[str]]], rest: str):
    lines = []
    for name, value, more in fields:
        lines += [f"{name}: {value}", *(f"  {one}" for one in more)]
    text = "".join(f"{line}\n" for line in lines) + "\n" + rest
    read = email.parser.HeaderParser().parsestr(text).items()
    assert [(name, " ".join(value.split())) for name, value in _fields(text)] == [
        (name.lower(), " ".join(value.split())) for name, value in read
    ]
