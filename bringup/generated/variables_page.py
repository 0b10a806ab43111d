"""docs/reference/variables.md: which environment variables matter, with those that are passed on."""

from __future__ import annotations

from bringup.system.environ import PASSED
from bringup.toolchain.cuda_system import ROOT_VARIABLES

PAGE = """\
# Environment variables

Made from the code by `invoke schema`; edit `bringup/generated/variables_page.py`.

## What bringup reads

| variable | means |
|---|---|
| `BRINGUP_CACHE` | folder of downloads, git mirrors and the store; wins over `cache` in the [settings](settings.md) |
| `BRINGUP_CONFIG` | [settings](settings.md) file to use |
| `BRINGUP_PYTHON` | Python that `./invokew` makes its own environment with |
| `BRINGUP_VENV` | where `./invokew` makes that environment instead of `.venv` |
| {roots} | where the provider `system` looks for a CUDA toolkit first |
| `MODULEPATH` | environment modules that may have one |
| `PATH` | where Python, host compiler and other tools of the machine are looked for |
| `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN` | keys of [S3](../how-to/caches.md#in-a-bucket) |
| `AWS_PROFILE`, `AWS_SHARED_CREDENTIALS_FILE`, `AWS_CONFIG_FILE` | file and section that have them otherwise |
| `AWS_ENDPOINT_URL_S3`, `AWS_ENDPOINT_URL`, `AWS_REGION`, `AWS_DEFAULT_REGION` | its server and region |
| `CARGO_HOME`, `RUSTUP_HOME` | for builds that need Rust |
| `XDG_CACHE_HOME`, `XDG_CONFIG_HOME` | the user's cache and configuration folders |
| `SHELL` | what `invoke shell` starts |

## What commands get

Every command starts with an environment made from this list, a fixed `PATH` and a UTF-8 locale; a build also gets what
the target and its recipe set. Nothing else of the user's environment reaches it: `CFLAGS`, `LD_LIBRARY_PATH`,
`PYTHONPATH`, `TORCH_CUDA_ARCH_LIST` and the like change no build. `invoke doctor` names those that would
get in the way outside of bringup.

{passed}

Builds get a `HOME` of their own.

## What the target's environment sets

`invoke env --gpu NAME` prints it, and `invoke shell --gpu NAME` starts with it: `BRINGUP_TARGET`, `VIRTUAL_ENV`,
`PATH`, `CC`, `CXX`, `CUDAHOSTCXX`, `CUDA_HOME`, the arch lists, and `PIP_CONSTRAINT` and `UV_CONSTRAINT`, so that a
later `pip install` does not replace what was built.
"""


def variables_page() -> str:
    """Return the page."""
    roots = ", ".join(f"`{name}`" for name in ROOT_VARIABLES)
    groups: dict[str, list[str]] = {"proxies": [], "certificates": [], "Python packages": [], "the rest": []}
    for name in PASSED:
        if name.lower().endswith("_proxy"):
            groups["proxies"].append(name)
        elif any(word in name for word in ("CERT", "CA_BUNDLE", "CAINFO")):
            groups["certificates"].append(name)
        elif name.startswith(("PIP_", "UV_")) or name == "NETRC":
            groups["Python packages"].append(name)
        else:
            groups["the rest"].append(name)
    rows = ["| for | variables |", "|---|---|"]
    rows += [f"| {title} | {', '.join(f'`{name}`' for name in names)} |" for title, names in groups.items()]
    return PAGE.format(roots=roots, passed="\n".join(rows))
