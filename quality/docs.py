"""Data Docs that open offline: Great Expectations' pages with every external load replaced or removed.

Its pages load files from six hosts, and an image that tells its makers that a page was opened; no setting turns this
off. After the build each load is replaced by the copy in `quality/assets`, logo, charts and newsletter are removed,
the language is stated, and a page that would still load anything from elsewhere is an error: nothing is published then.
"""

import csv
import re
import shutil
from functools import cache
from html.parser import HTMLParser
from pathlib import Path

from schemas.errors import BadInput, Stops

ASSETS = Path(__file__).parent / "assets"
MARK = ".tocsin-audit"
POLICY = "default-src 'none'; script-src file: 'self' 'unsafe-inline'; style-src file: 'self' 'unsafe-inline'; "
POLICY += "img-src file: 'self' data:; font-src file: 'self'"
_ELSEWHERE = re.compile(r"^\s*(?:[a-z][a-z0-9+.-]*:)?//", re.IGNORECASE)
_IN_STYLE = re.compile(r"(?:url\(\s*|@import\s+)['\"]?\s*(?:[a-z][a-z0-9+.-]*:)?//", re.IGNORECASE)
_REMOVED = (
    re.compile(r"<link\b[^>]*rel=\"shortcut icon\"[^>]*>"),
    re.compile(r"<script\b[^>]*\bsrc=\"[^\"]*/npm/vega[^\"]*\"[^>]*>\s*</script>"),
    re.compile(r"<footer\b.*?</footer>", re.DOTALL),
    re.compile(r"(?<=[{;\s])(?:background|background-image|content)\s*:\s*url\(['\"]?https?:[^)]*\)[^;}]*;?"),
    re.compile(r"\s(?:integrity|crossorigin)=\"[^\"]*\""),
)


class NotOffline(Stops):
    """A page would load something from elsewhere: Great Expectations' templates changed."""


_LOGO = re.compile(r"<img\b[^>]*NO-CACHE[^>]*>")


def localise(site: Path) -> int:
    """Make every page below a folder open offline, in place; return the number of pages.

    NotOffline where a page still loads from elsewhere; nothing of that folder may be published then.
    """
    shutil.copytree(ASSETS, site / "static" / "vendor", dirs_exist_ok=True)
    for unused in ("images", "fonts"):
        shutil.rmtree(site / "static" / unused, ignore_errors=True)
    pages = sorted(site.rglob("*.html"))
    for page in pages:
        text = rewritten(page.read_text(encoding="utf-8"), "../" * (len(page.relative_to(site).parts) - 1))
        if left := loads(text):
            raise NotOffline(
                f"The page {page.name} would load {left[0]} from elsewhere, so no pages were written: "
                "add the file to quality/assets/assets.csv, or install the version of great-expectations in the lock file."
            )
        page.write_text(text, encoding="utf-8")
    return len(pages)


def rewritten(text: str, up: str) -> str:
    """Return a page with its known loads local; `up` leads from the page to the folder of the site."""
    for pattern in _REMOVED:
        text = pattern.sub("", text)
    text = _LOGO.sub("tocsin · audit", text)
    for address, file in _copies().items():
        text = text.replace(f'"{address}"', f'"{up}static/vendor/{file}"')
    text = text.replace("<html>", '<html lang="en">', 1)
    policy = f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
    return text.replace("<head>", f"<head>\n    {policy}", 1)


def loads(text: str) -> list[str]:
    """Return what a page loads from elsewhere when it is opened; a link that a person may follow is no load."""
    reader = _Loads()
    reader.feed(text)
    return reader.found


def publish(built: Path, target: Path) -> None:
    """Put a finished site in the place of the one before, whose history goes with it.

    BadInput where the target holds something else than an earlier audit.
    """
    (built / MARK).touch()
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        refuse_foreign(target)
        shutil.rmtree(target)
    shutil.move(built, target)


def refuse_foreign(target: Path) -> None:
    """Raise BadInput where a folder is not empty and not the pages of an earlier audit."""
    if target.exists() and (not target.is_dir() or (any(target.iterdir()) and not (target / MARK).exists())):
        raise BadInput(f"{target} holds other files, which the audit would replace; give an empty folder by --docs.")


@cache
def _copies() -> dict[str, str]:
    """Return the copy that stands for each address."""
    with (ASSETS / "assets.csv").open(encoding="utf-8", newline="") as rows:
        return {row["url"]: row["file"] for row in csv.DictReader(rows) if row["url"]}


class _Loads(HTMLParser):
    """Gathers what is loaded from elsewhere."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[str] = []
        self._style = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._style = tag == "style"
        for name, value in attrs:
            followed = tag in ("a", "area") and name == "href"
            address = name in ("src", "href", "srcset", "data", "poster", "action", "background", "xlink:href")
            if (value and not followed and address and any(map(_ELSEWHERE.match, value.split(",")))) or (
                value and name == "style" and _IN_STYLE.search(value)
            ):
                self.found.append(value)

    def handle_data(self, data: str) -> None:
        if self._style and _IN_STYLE.search(data):
            self.found.append(_IN_STYLE.findall(data)[0])

    def handle_endtag(self, tag: str) -> None:
        self._style = self._style and tag != "style"


__all__ = ["NotOffline", "loads", "localise", "publish", "refuse_foreign", "rewritten"]
