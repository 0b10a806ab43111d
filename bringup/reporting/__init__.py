"""Everything that an upstream issue needs, in one markdown file, with secrets and private names removed.

Nothing is sent anywhere: the file is for the user to read, to correct and to paste.
"""

from __future__ import annotations

from bringup.reporting.content import Material, parts, title
from bringup.reporting.redact import Redactor, make_redactor
from bringup.reporting.template import Upstream, upstream_named

__all__ = ["Material", "Redactor", "last_command", "make_redactor", "upstream_named", "write_issue"]


def write_issue(material: Material, upstream: Upstream, redact: Redactor) -> str:
    """Return the issue as markdown, arranged as a project wants it.

    Args:
        material: what it is made of.
        upstream: the project's template.
        redact: takes out what nobody outside should read; applied to the whole text, whatever part it came from.
    """
    pieces = parts(material)
    rows = [f"# {upstream.title.format(title=title(material))}", ""]
    for section in upstream.section:
        rows += [f"## {section.heading}", ""]
        rows += [section.text.strip(), ""] if section.text else []
        for part in section.parts:
            if pieces[part]:
                rows += [pieces[part], ""]
    text = redact("\n".join(rows))
    return (
        f"<!-- to be read, corrected, and pasted into {upstream.repository} -->\n\n{text}"
        if upstream.repository
        else text
    )


def last_command(log: str) -> str:
    """Return the command that a log of ours ends with: its last line of the form `$ command`."""
    commands = [line[2:] for line in log.splitlines() if line.startswith("$ ")]
    return commands[-1] if commands else ""
