"""What a configured tree says that lacks a feature asked for."""

from __future__ import annotations

from bringup.building.cmake_cache import switched_off


def test_features_that_cmake_switched_off_are_found():
    text = "USE_CUDNN:BOOL=OFF\nUSE_NCCL:BOOL=1\nUSE_MKLDNN:BOOL=0\nUSE_GLOO:BOOL=ON\n"
    wanted = {"USE_CUDNN": "1", "USE_NCCL": "1", "USE_MKLDNN": "0", "USE_GLOO": "1", "USE_OTHER": "1"}
    assert switched_off(text, wanted) == ["USE_CUDNN"]
