"""One HTML page that needs nothing beside it and runs nothing but its own script."""

from __future__ import annotations

import base64
import hashlib
from html import escape
from importlib.resources import files
from string import Template


def page_of(title: str, subtitle: str, body: str, script: str = "") -> str:
    """A page.

    Args:
        title, subtitle: plain texts.
        body: markup.
        script: of ours; the page's policy names its digest, so that no other runs.
    """
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return Template(files("alasca.audit").joinpath("page.html").read_text()).substitute(
        title=escape(title), subtitle=escape(subtitle), body=body,
        policy=f"script-src 'sha256-{digest}'; " if script else "",
        script=f"<script>{script}</script>" if script else "",
    )  # fmt: skip
