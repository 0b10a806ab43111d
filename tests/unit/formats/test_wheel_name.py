import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.version import Version

from bringup.errors import ConfigError
from bringup.formats.wheel import ArchiveError, WheelName, with_local


def test_parse():
    name = WheelName.parse("flashinfer_jit_cache-0.6.8.post1+cu130-1x-cp39-abi3-manylinux_2_28_x86_64.linux_x86_64.whl")
    assert name.distribution == "flashinfer-jit-cache"
    assert name.version == "0.6.8.post1+cu130"
    assert name.build == "1x"
    assert name.tag == "cp39-abi3-manylinux_2_28_x86_64.linux_x86_64"
    assert name.tags == ("cp39-abi3-linux_x86_64", "cp39-abi3-manylinux_2_28_x86_64")
    assert name.platforms == ("linux_x86_64", "manylinux_2_28_x86_64")


@pytest.mark.parametrize(
    "bad", ["", "x.whl", "a-1.0.tar.gz", "a-one-py3-none-any.whl", "a-1.0-none-any.whl", "a-1-2-3-4-5-6.whl"]
)
def test_not_a_name(bad):
    with pytest.raises(ArchiveError):
        WheelName.parse(bad)


@given(st.text(max_size=40))
def test_any_text_is_parsed_or_refused(text):
    for name in (text, f"{text}.whl", f"a-{text}-py3-none-any.whl"):
        try:
            assert WheelName.parse(name).filename == name
        except ArchiveError as exc:
            assert exc.message  # noqa: PT017


@pytest.mark.parametrize(
    ("version", "label", "expected"),
    [
        ("0.5.12.post1", "bringup1", "0.5.12.post1+bringup1"),
        ("1.0+cu130", "bringup1", "1.0+cu130.bringup1"),
        ("1.0+cu130.bringup1", "bringup1", "1.0+cu130.bringup1"),
        ("1.0+cu130", "cu130", "1.0+cu130"),
        ("1.0+xcu130", "cu130", "1.0+xcu130.cu130"),
        ("1.0", "CU130_Src", "1.0+cu130.src"),
        ("1.0", "", "1.0"),
        ("1!2.0rc1", "a", "1!2.0rc1+a"),
    ],
)
def test_with_local(version, label, expected):
    assert with_local(version, label) == expected


@pytest.mark.parametrize(("version", "label"), [("1.0", "a b"), ("1.0", "+"), ("one", "a"), ("1.0", "a..b")])
def test_with_local_refuses(version, label):
    with pytest.raises(ConfigError, match="not a valid version"):
        with_local(version, label)


@given(st.text(alphabet="ab1._-+", max_size=8))
def test_with_local_is_valid_or_refused(label):
    try:
        assert str(Version(with_local("1.0+x", label))) == with_local("1.0+x", label)
    except ConfigError as exc:
        assert repr(label) in exc.message  # noqa: PT017
