"""Toolkits from real packages of a few bytes; the identities are those of the real pins."""

import tomllib
from pathlib import Path

import msgspec
import pytest
from served import sha256

from bringup.errors import ConfigError, FetchError, PrepareError, TargetError
from bringup.formats.wheel import make_wheel
from bringup.model.toolchain import CudaRelease
from bringup.system.apt_sources import DebianMirror
from bringup.system.downloads import DownloadCache
from bringup.system.environ import base_environment
from bringup.toolchain.cuda import plan_identity, provide_cuda
from bringup.toolchain.cuda_layout import link_unversioned
from bringup.toolchain.facts import FactCache

ROOT = Path(__file__).resolve().parents[3]
NVCC = "#!/bin/sh\necho 'Cuda compilation tools, release 13.0, V13.0.88'\n"


def real(version: str) -> CudaRelease:
    return msgspec.toml.decode((ROOT / f"toolchains/cuda/{version}.toml").read_bytes(), type=CudaRelease)


@pytest.mark.parametrize("version", ["12.4", "12.6", "12.8", "12.9", "13.0"])
def test_data_is_consistent(version):
    release = real(version)
    assert release.version == version
    assert release.release.startswith(f"{version}.")
    assert release.nvcc.startswith(f"{version}.")
    assert release.host.gcc_min <= min(release.host.prefer) <= max(release.host.prefer) <= release.host.gcc_max
    providers = release.providers
    for name in ("wheels", "debs"):
        assert (getattr(providers, name) is None) == (name in providers.absent), name
    for packages in (providers.wheels and providers.wheels.packages, providers.debs and providers.debs.packages):
        hashes = [pin.sha256 for pin in packages or ()]
        assert len(hashes) == len(set(hashes))
    assert "9.0a" in release.capabilities
    assert ("10.0a" in release.capabilities) == (version >= "12.8")


def test_no_host_name_in_the_data():
    for path in (ROOT / "toolchains").rglob("*.toml"):
        text = path.read_text()
        for data in ("packages", "debs", "wheels"):
            assert f"http://{data}" not in text
        for key in ("path", "paths"):
            for line in text.splitlines():
                assert not line.startswith(f"{key} =") or "://" not in line, path
        tomllib.loads(text)


def test_identity_comes_from_pins_and_groups_alone():
    release = real("13.0")
    plain = plan_identity(release, "wheels", ())
    assert plan_identity(release, "wheels", ["curand", "cublas"]) == plan_identity(
        release, "wheels", ["cublas", "curand"]
    )
    assert plain != plan_identity(release, "wheels", ["curand"])
    other = msgspec.structs.replace(
        release,
        providers=msgspec.structs.replace(
            release.providers,
            wheels=msgspec.structs.replace(
                release.providers.wheels, packages=tuple(reversed(release.providers.wheels.packages))
            ),
        ),
    )
    assert plan_identity(other, "wheels", ()) == plain


def test_groups_that_come_with_the_compiler_cost_nothing():
    assert plan_identity(real("12.4"), "debs", ["profiler"]) == plan_identity(real("12.4"), "debs", ())


def test_unknown_group_names_file_and_known_ones():
    with pytest.raises(ConfigError, match=r"cuda/13\.0\.toml: \[providers\.wheels\] has no group 'curnad'.*curand"):
        plan_identity(real("13.0"), "wheels", ["curnad"])


@pytest.mark.parametrize(("version", "provider"), [("12.4", "wheels"), ("12.8", "debs"), ("13.0", "debs")])
def test_provider_that_a_release_has_not_says_why(version, provider):
    with pytest.raises(TargetError) as caught:
        plan_identity(real(version), provider)
    assert f"--toolkit {provider}" in caught.value.message
    assert real(version).providers.absent[provider] in caught.value.message
    assert "--toolkit" in caught.value.hint


def pinned_wheel(tmp_path, name, files, group="", root=""):
    tree = tmp_path / f"tree-{name}"
    for path, text in files.items():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_text(text)
        (tree / path).chmod(0o755 if "/bin/" in path else 0o644)
    wheel = make_wheel(tree, tmp_path, name=name, version="13.0.1", tag="py3-none-manylinux2014_x86_64")
    digest = sha256(wheel.read_bytes())
    DownloadCache(tmp_path / "cache").adopt(wheel, digest)
    return {"name": name, "version": "13.0.1", "sha256": digest, "size": 1, "group": group, "root": root}


@pytest.fixture
def small(tmp_path):
    """Return a release of three wheels that are in the cache. The stub of libcuda is in one, so no compiler runs."""
    packages = [
        pinned_wheel(
            tmp_path,
            "nvcc",
            {
                "nvidia/cu13/bin/nvcc": NVCC,
                "nvidia/cu13/lib/libcudart.so.13": "x",
                "nvidia/cu13/lib/stubs/libcuda.so": "stub",
            },
        ),
        pinned_wheel(tmp_path, "crt", {"nvidia/cu13/bin/crt/link.stub": "x", "nvidia/cu13/include/cuda.h": "x"}),
        pinned_wheel(tmp_path, "cudnn", {"nvidia/cudnn/include/cudnn.h": "x"}, group="cudnn", root="nvidia/cudnn"),
    ]
    data = msgspec.to_builtins(real("13.0"))
    data["providers"]["wheels"] = {"root": "nvidia/cu13", "packages": packages, "unpacked_mib": 1}
    return data


def provide(data, tmp_path, provider="wheels", groups=(), **more):
    return provide_cuda(
        msgspec.convert(data, CudaRelease),
        provider,
        groups=frozenset(groups),
        dest_root=tmp_path / "toolkits",
        cache=DownloadCache(tmp_path / "cache"),
        facts=FactCache(tmp_path / "facts.json"),
        env=base_environment({}),
        user_env={},
        **{"cc": Path("/nonexistent/gcc"), **more},
    )


def test_wheels_become_a_cuda_home(small, tmp_path):
    made = provide(small, tmp_path, groups=["cudnn"], offline=True)
    assert made.identity == plan_identity(msgspec.convert(small, CudaRelease), "wheels", ["cudnn"])
    assert made.version == "13.0.88"
    home = made.root
    assert (home / "lib64").readlink() == Path("lib")
    assert (home / "lib64/libcudart.so").readlink() == Path("libcudart.so.13")
    assert (home / "driver-stub/libcuda.so.1").read_text() == "stub"
    assert (home / "include/cudnn.h").is_file()
    assert made.nvcc.stat().st_mode & 0o111
    assert not list(home.glob(".site-packages"))
    assert provide(small, tmp_path, groups=["cudnn"], offline=True) == made


def test_an_assembled_toolkit_needs_no_host_compiler(small, tmp_path):
    """Another host compiler is asked for: it is unpacked after the toolkit, which is there, was taken."""
    made = provide(small, tmp_path, offline=True)
    assert provide(small, tmp_path, offline=True, cc=None) == made


def test_a_toolkit_whose_stub_has_to_be_made_needs_one(small, tmp_path):
    files = {"nvidia/cu13/bin/nvcc": NVCC, "nvidia/cu13/lib/libcudart.so.13": "x"}
    small["providers"]["wheels"]["packages"][0] = pinned_wheel(tmp_path, "bare-nvcc", files)
    with pytest.raises(PrepareError, match="the host compiler comes before the toolkit"):
        provide(small, tmp_path, offline=True, cc=None)


def test_group_that_was_not_asked_for_is_not_unpacked(small, tmp_path):
    assert not (provide(small, tmp_path, offline=True).root / "include/cudnn.h").exists()


def test_wheels_missing_offline(small, tmp_path):
    small["providers"]["wheels"]["packages"][1]["sha256"] = "00" * 32
    with pytest.raises(FetchError, match=r"crt 13\.0\.1 .*--offline"):
        provide(small, tmp_path, offline=True)


def test_wheels_without_a_compiler(small, tmp_path):
    small["providers"]["wheels"]["packages"] = small["providers"]["wheels"]["packages"][1:]
    with pytest.raises(PrepareError, match="no bin/nvcc"):
        provide(small, tmp_path, offline=True)
    assert not [path for path in (tmp_path / "toolkits").iterdir() if path.is_dir()]


def test_debs_become_a_cuda_home(tmp_path, mirror_folder):
    data = msgspec.to_builtins(real("12.4"))
    library = "usr/lib/x86_64-linux-gnu"
    root, known = mirror_folder(
        {
            "nvidia-cuda-toolkit": {
                "usr/bin/nvcc": b"#!/bin/sh\nexec /usr/lib/nvidia-cuda-toolkit/bin/nvcc\n",
                "usr/bin/ptxas": b"ptxas",
                "etc/nvcc.profile": b"absolute",
                "usr/lib/nvidia-cuda-toolkit/bin/nvcc": b"real",
                "usr/lib/nvidia-cuda-toolkit/bin/nvcc.profile": "/etc/nvcc.profile",
                "usr/lib/nvidia-cuda-toolkit/bin/gcc": b"wrapper",
                "usr/lib/nvidia-cuda-toolkit/bin/cicc": b"cicc",
                "usr/lib/nvidia-cuda-toolkit/libdevice/libdevice.10.bc": b"bc",
            },
            "nvidia-cuda-dev": {
                "usr/include/cuda.h": b"x",
                f"{library}/libcudart_static.a": b"needed",
                f"{library}/libcublas_static.a": b"large",
                f"{library}/libnppif_static.a": b"large",
                f"{library}/libcublas.so": "libcublas.so.12",
                f"{library}/stubs/libcuda.so": b"stub",
            },
        }
    )
    data["providers"]["debs"]["packages"] = [
        {"name": name, "version": "1.0-1", "sha256": digest, "size": size, "path": path}
        for name, (digest, size, path) in known.items()
    ]
    made = provide(data, tmp_path, "debs", mirror=DebianMirror(url=root.as_uri(), origin="test"))
    assert made.nvcc.read_text() == "real"
    assert "$(_HERE_)/.." in (made.root / "bin/nvcc.profile").read_text()
    assert (made.root / "nvvm/bin/cicc").is_file()
    assert (made.root / "nvvm/libdevice/libdevice.10.bc").is_file()
    assert sorted(path.name for path in (made.root / "lib64").iterdir()) == ["libcudart_static.a", "stubs"]
    assert (made.root / "lib").readlink() == Path("lib64")
    assert not (made.root / "bin/gcc").exists()
    assert provide(data, tmp_path, "debs", offline=True) == made


def test_unversioned_names_point_at_the_shortest(tmp_path):
    for name in (
        "libnvrtc.so.13.0.88",
        "libnvrtc.so.13",
        "libnvrtc-builtins.so.13.0",
        "libx.so",
        "libx.so.1",
        "note.txt",
    ):
        (tmp_path / name).write_text("")
    link_unversioned(tmp_path)
    links = {path.name: str(path.readlink()) for path in tmp_path.iterdir() if path.is_symlink()}
    assert links == {"libnvrtc.so": "libnvrtc.so.13", "libnvrtc-builtins.so": "libnvrtc-builtins.so.13.0"}
