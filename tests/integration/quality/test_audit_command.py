"""`tocsin audit` as a user runs it, on tables in a real S3."""

import json
import os
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from deltalake import write_deltalake

from pipeline.cli.app import main
from sinks.store import Store
from tests.unit.quality.rows import tables

ROOT = Path(__file__).parents[3]
BUCKET = "audited"
PROGRAM = "import sys; from pipeline.cli.app import main; sys.argv[0] = 'tocsin'; main()"
pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]


@dataclass(frozen=True)
class Done:
    """What a command left behind."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def tocsin(monkeypatch, capsys, gx):
    """Run the command as its console script does, in this process: Great Expectations takes long to import."""
    del gx

    def run(data, *arguments):
        monkeypatch.setattr(sys, "argv", ["tocsin", "audit", "--data", str(data), *arguments])
        with pytest.raises(SystemExit) as left:
            main()
        told = capsys.readouterr()
        return Done(left.value.code or 0, told.out, told.err)

    return run


def known(folder, cluster, bucket=BUCKET, s3=None):
    """Write what `tocsin up` writes, for a bucket of this test's own."""
    folder.mkdir(exist_ok=True)
    where = {"kafka": cluster.kafka, "s3": s3 or cluster.s3, "bucket": bucket}
    keys = {"access_key": cluster.access_key, "secret_key": cluster.secret_key}
    (folder / "cluster.json").write_text(json.dumps(where | keys))
    return folder


@pytest.fixture(scope="module")
def data(cluster, tmp_path_factory):
    """A data folder whose bucket holds the tables of one region, one without rows and one gone, and quarantine."""
    store = Store(f"http://{cluster.s3}", cluster.access_key, cluster.secret_key, BUCKET)
    store.client.make_bucket(BUCKET)
    for path, table in tables().items():
        if not path.endswith("duplicates"):
            rows = table.clear() if path.endswith("links") else table
            write_deltalake(store.uri(path), rows.to_arrow(), storage_options=store.delta_options())
    return known(tmp_path_factory.mktemp("audit") / "data", cluster)


def test_a_region_with_an_empty_and_a_missing_table(data, tocsin):
    done = tocsin(data, "sahel", "--json")
    assert done.returncode == 1, done.stderr
    told = json.loads(done.stdout)
    assert told["passed"] is False
    states = {each["table"].rpartition("/")[2]: each["status"] for each in told["tables"]}
    passed = dict.fromkeys(("patterns", "incidents", "versions", "referrals", "assessments"), "passed")
    assert states == {"links": "empty", "duplicates": "missing", **passed}
    assert tocsin(data, "sahel", "--json", "--allow-empty").returncode == 0


def test_the_table_that_a_person_reads_and_the_pages(data, tmp_path, tocsin):
    done = tocsin(data, "sahel", "--allow-empty", "--docs", str(tmp_path / "pages"))
    assert done.returncode == 0, done.stderr
    assert "hub/sahel/incidents" in done.stdout
    assert "missing" in done.stdout
    assert "All passed." in done.stdout
    assert (tmp_path / "pages" / "index.html").is_file()
    assert "MONUSCO" not in "".join(page.read_text() for page in (tmp_path / "pages").rglob("*.html"))


def test_all_regions_and_quarantine_from_an_empty_home(data, tmp_path):
    environment = os.environ | {"HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    environment.pop("GX_ANALYTICS_ENABLED", None)
    command = [sys.executable, "-c", PROGRAM, "audit", "--data", str(data), "--json", "--allow-empty"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=data)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert {each["table"]: each["rows"] for each in told["tables"]}["quarantine"] == 6
    assert (data / "audit" / "docs" / "index.html").is_file()
    assert not list(tmp_path.iterdir()), "nothing is written to the home folder"


def one_sentence(done, code, *words):
    assert done.returncode == code, (done.stdout, done.stderr)
    assert done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert all(word in done.stderr for word in words), done.stderr


def test_no_cluster(tmp_path, tocsin):
    one_sentence(tocsin(tmp_path), 78, "tocsin up")


def test_no_such_region(data, tocsin):
    one_sentence(tocsin(data, "atlantis"), 65, "atlantis", "sahel")


def test_no_table_at_all(data, cluster, tmp_path, tocsin):
    del data
    Store(f"http://{cluster.s3}", cluster.access_key, cluster.secret_key, "bare").client.make_bucket("bare")
    one_sentence(tocsin(known(tmp_path / "data", cluster, "bare")), 78, "tocsin worker sink")


def test_no_such_bucket(cluster, tmp_path, tocsin):
    one_sentence(tocsin(known(tmp_path / "data", cluster, "no-such-bucket")), 78, "no-such-bucket")


def test_the_object_store_is_down(cluster, tmp_path, tocsin):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    one_sentence(tocsin(known(tmp_path / "data", cluster, s3=f"127.0.0.1:{port}")), 69, "tocsin status")


def test_a_folder_with_other_files_is_not_replaced(data, tmp_path, tocsin):
    (tmp_path / "letter.txt").write_text("mine")
    one_sentence(tocsin(data, "sahel", "--docs", str(tmp_path)), 65, "--docs")
    assert (tmp_path / "letter.txt").read_text() == "mine"
