"""Level import: every package of the stack imports in the target environment, from our files, in the version asked.

Runs in the target environment's Python, without a GPU. What to check is a JSON document:
{"packages": [{"name", "module", "distribution", "version", "site"}], "cuda": "13.0", "driver": "a sentence about
libcuda"}. `cuda` is "none" where torch is to have none, `site` is the node's folder that a package is linked
from, "" for one of the environment's own.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import sys
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bringup.verify.levels.level_io import Result, parser, run_level
else:
    from level_io import Result, parser, run_level


def check_package(result: Result, package: dict[str, str], site: Path) -> None:
    """Import one module and compare its version and place."""
    name = package["name"]
    check = name
    started = time.monotonic()
    try:
        module = importlib.import_module(package["module"])
    except BaseException:  # noqa: BLE001 - SystemExit of a package that gives up counts as well
        result.fail_from(check, traceback.format_exc())
        return
    seconds = round(time.monotonic() - started, 2)
    place = Path(getattr(module, "__file__", None) or next(iter(module.__path__)))
    version = importlib.metadata.version(package["distribution"])
    evidence = {"version": version, "seconds": seconds, "file": str(place)}
    public = version.partition("+")[0]
    homes = {site, *([Path(package["site"]).resolve()] if package.get("site") else [])}
    if not homes & set(place.resolve().parents):
        result.add(
            check, False, f"{package['module']} comes from {place} and not from the environment", evidence=evidence
        )
    elif public != package["version"]:
        result.add(check, False, f"{name} is {version} and not {package['version']}", evidence=evidence)
    else:
        result.add(check, True, f"{package['module']} {version} imports in {seconds} s", evidence=evidence)


def body(result: Result, request: dict[str, Any]) -> None:
    """Check every package of the request."""
    site = Path(sys.prefix).resolve()
    for package in request["packages"]:
        check_package(result, package, site)
    for name in request["without_driver"]:
        result.skip(name, f"{name} loads the driver's libcuda.so.1, and this machine has no driver", required=True)
    torch = sys.modules.get("torch")
    wanted = request.get("cuda", "")
    if torch is not None and wanted:
        found = str(torch.version.cuda or "none")
        same = found == wanted
        why = f"torch was built for CUDA {found}" if torch.version.cuda else "torch was built without CUDA"
        why += "" if same else f" and the target is {'without it' if wanted == 'none' else f'CUDA {wanted}'}"
        result.add("torch-cuda", same, why, evidence={"cuda": found, "git": str(torch.version.git_version)})
    result.evidence["driver"] = request["driver"]


if __name__ == "__main__":
    options = parser(__doc__ or "", limit_s=600)
    options.add_argument("--request", type=Path, required=True, help="JSON file that says what to check")
    arguments = options.parse_args()
    asked = json.loads(arguments.request.read_text())
    sys.exit(run_level("import", lambda r: body(r, asked), out=arguments.json, limit_s=arguments.time_limit))
