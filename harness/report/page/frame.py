"""What every page has in common: its templates, its style and script, and what it may load, which is nothing.

Imports jinja2 alone beside harness.safety: the numerical suite's pages are made in another environment.
"""

import re
from base64 import b64encode
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from harness.safety import visible

HERE = Path(__file__).parent
# The most characters that any one value may take: what is longer is a text, which is cut where it is made ready.
LONGEST = 20_000
MARKS = {"PASS": "✓", "FAIL": "✗", "INCONCLUSIVE": "?", "ERROR": "!", "REPORTED": "i"}
_CODE = re.compile(r"`([^`\n]+)`")


def render(
    template: str,
    *,
    folder: Path = HERE,
    filters: Mapping[str, Callable[..., object]] | None = None,
    **values: Any,  # noqa: ANN401 - what the template names
) -> str:
    """Return a page.

    Whatever a template shows of its values is escaped, shows its invisible characters, and is bounded. The page may
    run its own script and style, known by their hashes, and load nothing.

    Args:
        template: The template's name.
        folder: Where it is; what all pages share is in this one.
        filters: What it calls its values by, beside `code`.
        values: What it shows.
    """
    environment = Environment(
        loader=FileSystemLoader([folder, HERE]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=True,
        finalize=_shown,
    )
    environment.filters |= {"code": code, **(filters or {})}
    style, script = ((HERE / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    policy = "; ".join(
        (
            "default-src 'none'",
            f"style-src '{_hashed(style)}'",
            f"script-src '{_hashed(script)}'",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )
    # Both are files of this folder.
    environment.globals["marks"] = MARKS
    own = {"policy": Markup(policy), "style": Markup(style), "script": Markup(script)}  # noqa: S704
    return environment.get_template(template).render(**own, **values)


def code(text: str) -> Markup:
    """Return a sentence with what stands between backticks as code; from its second line on it is shown as it is."""
    first, _, rest = _bounded(visible(text)).partition("\n")
    # What is put in is escaped before.
    said = Markup(_CODE.sub(r"<code>\1</code>", str(escape(first))))  # noqa: S704
    return said + (Markup("<pre>{}</pre>").format(rest) if rest else "")


def _shown(value: object) -> object:
    return _bounded(visible(value)) if isinstance(value, str) and not isinstance(value, Markup) else value


def _bounded(text: str) -> str:
    if len(text) <= LONGEST:
        return text
    return f"{text[:LONGEST]}… ({len(text) - LONGEST:,} more characters)"


def _hashed(content: str) -> str:
    return f"sha256-{b64encode(sha256(content.encode()).digest()).decode()}"
