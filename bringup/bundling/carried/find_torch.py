"""Says which PyTorch a Python would import, by reading files: nothing of it is imported, and no GPU is touched.

install.sh of a bundle without PyTorch holds this text and gives it to a Python of the node, of any version from 3.6 on:
nothing newer is used here. Prints lines of NAME=VALUE; `problem` says why what is there cannot be used.
"""

import sys

sys.path[:] = [entry for entry in sys.path if entry]  # not the folder that install.sh was started in

import os  # noqa: E402
import re  # noqa: E402
from pathlib import Path  # noqa: E402


def assigned(text: str, name: str) -> str:
    """Return the string that a module's text assigns to a name, "none" for None, "" if it assigns none."""
    found = re.search(rf"^{name}(?:\s*:[^=\n]*)?\s*=\s*(?:(None)|['\"]([^'\"\n]*)['\"])", text, re.MULTILINE)
    if found is None:
        return ""
    return "none" if found.group(1) else found.group(2)


def python_tag() -> str:
    """Return the tag of this Python's extension modules, "cp311"; a debug or free-threaded build has a letter more."""
    kind = {"cpython": "cp"}.get(sys.implementation.name, sys.implementation.name)
    return "{}{}{}{}".format(kind, sys.version_info[0], sys.version_info[1], getattr(sys, "abiflags", ""))


def problem_of(site: Path, version: str) -> str:
    """Return why the torch in a folder cannot be used from another environment, "" if it can."""
    infos = sorted(site.glob("torch-*.dist-info"))
    if len(infos) != 1:
        return "{} has {} torch-*.dist-info folders where one is wanted".format(site, len(infos) or "no")
    try:
        record = (infos[0] / "RECORD").read_text(encoding="utf-8", errors="replace")
        wheel = (infos[0] / "WHEEL").read_text(encoding="utf-8", errors="replace")
    except OSError as exc:
        return f"{infos[0]} cannot be read: {exc.strerror}"
    if "\ntorch/version.py," not in "\n" + record:
        return f"{infos[0]}/RECORD does not list torch/version.py: an editable or development installation"
    public = infos[0].name[len("torch-") : -len(".dist-info")].split("+")[0]
    if public != version.split("+", maxsplit=1)[0]:
        return f"{infos[0]} and torch/version.py ({version}) contradict each other"
    tags = re.findall(r"^Tag: (\S+)", wheel, re.MULTILINE)
    if tags and not any(tag.startswith((python_tag() + "-", "py3-")) or "-abi3-" in tag for tag in tags):
        return f"the torch in {site} is built for {tags[0]}"
    return ""


def main() -> None:
    """Print what there is."""
    folders = [os.path.abspath(entry) for entry in sys.path if os.path.isdir(entry)]  # noqa: PTH100, PTH112
    facts = {"tag": python_tag(), "python": sys.executable, "path": os.pathsep.join(folders)}
    site = next((Path(one) for one in folders if os.path.isfile(os.path.join(one, "torch", "__init__.py"))), None)  # noqa: PTH113, PTH118
    if site is None:
        facts["problem"] = "it has no torch"
    else:
        try:
            text = (site / "torch" / "version.py").read_text(encoding="utf-8", errors="replace")
        except OSError:
            text = ""
        facts["site"] = str(site)
        facts["torch"] = assigned(text, "__version__") or "unknown"
        facts["cuda"] = assigned(text, "cuda") or "unknown"
        facts["git"] = assigned(text, "git_version")
        facts["problem"] = problem_of(site, facts["torch"])
    for name, value in facts.items():
        sys.stdout.write("{}={}\n".format(name, value.replace("\n", "?")))


main()
