import csv
import hashlib

import pytest

from quality import docs
from schemas.errors import BadInput

CDN = "https://cdn.example.org/x"


@pytest.mark.parametrize("tag", [
    f'<script src="{CDN}.js"></script>',
    f'<link rel="stylesheet" href="{CDN}.css">',
    f"<img src='{CDN}.png'>",
    '<img src="//cdn.example.org/x.png">',
    f"<img src=HTTP{CDN[5:]}>",
    f'<img srcset="a.png 1x,{CDN}.png 2x">',
    f'<iframe src="{CDN}"></iframe>',
    f'<object data="{CDN}"></object>',
    f'<form action="{CDN}"></form>',
    f'<p style="background: url({CDN}.png)">',
    f"<style>p {{ background: url('{CDN}.png') }}</style>",
    f'<style>@import "{CDN}.css";</style>',
])  # fmt: skip
def test_a_load_from_elsewhere_is_found(tag):
    assert docs.loads(f"<html><head>{tag}</head></html>")


@pytest.mark.parametrize("tag", [
    f'<a href="{CDN}">read on</a>',
    '<script src="../static/vendor/js/jquery.min.js"></script>',
    '<img src="data:image/svg+xml,%3csvg xmlns=%27http://www.w3.org/2000/svg%27/%3e">',
    f"<p>{CDN}</p>",
])  # fmt: skip
def test_a_link_or_a_local_file_is_none(tag):
    assert docs.loads(tag) == []


def test_a_page_that_still_loads_from_elsewhere_is_an_error(tmp_path):
    (tmp_path / "index.html").write_text(f'<html><head><script src="{CDN}.js"></script></head></html>')
    with pytest.raises(docs.NotOffline, match=r"assets\.csv"):
        docs.localise(tmp_path)


def test_known_loads_become_local_and_the_beacon_goes():
    page = (
        '<html><head><link href="https://maxcdn.bootstrapcdn.com/bootstrap/4.3.1/css/bootstrap.min.css"/></head>'
        '<body><img\n class="NO-CACHE"\n src="https://great-expectations-web-assets.s3.us-east-2.amazonaws.com/l.png?d=1"\n/>'
        '<script src="https://cdn.jsdelivr.net/npm/vega@5"></script></body></html>'
    )
    text = docs.rewritten(page, "../../")
    assert '"../../static/vendor/css/bootstrap.min.css"' in text
    assert "NO-CACHE" not in text
    assert "vega" not in text
    assert "Content-Security-Policy" in text
    assert docs.loads(text) == []


def test_each_asset_is_what_was_published_and_names_its_licence():
    with (docs.ASSETS / "assets.csv").open(encoding="utf-8", newline="") as rows:
        listed = list(csv.DictReader(rows))
    for row in listed:
        assert hashlib.sha256((docs.ASSETS / row["file"]).read_bytes()).hexdigest() == row["sha256"], row["file"]
        name = row["package"].rpartition("/")[2].replace("fontawesome-free", "font-awesome")
        assert row["licence"]
        assert (docs.ASSETS / "licences" / f"{name}.txt").is_file(), name
    there = {str(p.relative_to(docs.ASSETS)) for d in ("css", "js", "webfonts") for p in (docs.ASSETS / d).iterdir()}
    assert there == {row["file"] for row in listed}


def test_no_asset_loads_from_elsewhere():
    for path in (docs.ASSETS / "css").iterdir():
        assert not docs._IN_STYLE.search(path.read_text()), path.name


def test_publishing_over_other_files_is_refused(tmp_path):
    target, built = tmp_path / "target", tmp_path / "built"
    target.mkdir()
    built.mkdir()
    (target / "letter.txt").write_text("mine")
    with pytest.raises(BadInput, match="--docs"):
        docs.publish(built, target)
    assert (target / "letter.txt").read_text() == "mine"


def test_publishing_over_a_file_is_refused(tmp_path):
    (tmp_path / "target").write_text("mine")
    with pytest.raises(BadInput, match="--docs"):
        docs.refuse_foreign(tmp_path / "target")
