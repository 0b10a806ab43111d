"""Lists of what compilers read: dependency files as gcc writes them, and ninja's .ninja_deps."""

from __future__ import annotations

import struct

NINJA_HEAD = b"# ninjadeps\n"


def listed_paths(text: str) -> set[str]:
    """Return the prerequisites of all rules in a dependency file.

    Several compilers may have appended to it at the same time; a line that is torn gives names of no file.
    """
    found: set[str] = set()
    for rule in text.replace("\\\n", " ").split("\n"):
        _, _, rest = rule.partition(": ")
        found.update(word.replace("\0", " ") for word in rest.replace("\\ ", "\0").split())
    return found


def ninja_paths(data: bytes) -> set[str]:
    """Return all paths in a .ninja_deps: outputs as well as what they were made of; what is cut off is left out."""
    if not data.startswith(NINJA_HEAD):
        return set()
    found: set[str] = set()
    at = len(NINJA_HEAD) + 4  # behind the version
    while at + 4 <= len(data):
        (size,) = struct.unpack_from("<I", data, at)
        at += 4
        length = size & 0x7FFFFFFF
        if at + length > len(data):
            break
        if not size & 0x80000000:  # a path, padded, with a checksum behind it
            found.add(data[at : at + length - 4].rstrip(b"\0").decode("utf-8", "replace"))
        at += length
    return found
