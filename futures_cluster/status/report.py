"""A report: the status page of a run as one file, to send to a colleague.

Covers: putting the page, its style, its scripts and the figures into one HTML file. Does not cover: the figures
(``services.observe.monitor``), drawing them (``page.js``, which finds them in the file and asks no server).

The figures stand in the file as JSON in which nothing can end the element that they are in; the file may load nothing.
"""

from __future__ import annotations

import html
import os
import re
import time
from typing import Any

from futures_cluster.status.api import read_file, to_json

POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
)


def embed(value: Any) -> str:
    r"""Return JSON that can stand in a script element, whatever the names in it.

    Examples
    --------
    >>> print(embed({"name": "</script>"}))
    {"name":"\u003c/script\u003e"}
    """
    text = to_json(value).decode()
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def render(data: dict[str, Any], title: str = "") -> str:
    """Return the file.

    Parameters
    ----------
    data : dict
        As ``ClusterMonitor.everything`` makes it.
    """
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(data["snapshot"]["time"]))
    page = read_file("page.html").decode()
    style = read_file("page.css").decode()
    figures = embed({**data, "title": title or "Report", "when": when})
    head = f'<meta http-equiv="Content-Security-Policy" content="{POLICY}"><style>{style}</style>'
    page = page.replace('<link rel="stylesheet" href="page.css">', head)
    page = re.sub(r'<link rel="icon"[^>]*>', "", page)
    page = re.sub(
        r"<title>[^<]*</title>", lambda match: f"<title>{html.escape(title or 'Report')} {when}</title>", page
    )
    scripts = f'<script type="application/json" id="report">{figures}</script>'
    for name in ("charts.js", "page.js"):
        tag = f'<script src="{name}" defer></script>'
        assert tag in page, f"page.html does not load {name}"
        page = page.replace(tag, "")
        scripts += f"<script>{read_file(name).decode()}</script>"
    return page.replace("</body>", scripts + "</body>")


def write(path: str | os.PathLike[str], data: dict[str, Any], title: str = "") -> None:
    """Write the file; it is complete as soon as it is there."""
    text = render(data, title)
    new = f"{os.fspath(path)}.new"
    with open(new, "w", encoding="utf-8", errors="backslashreplace") as file:
        file.write(text)
    os.replace(new, path)
