"""The one door to the object store (any S3): what is written, read and listed there, and how Delta reaches it.

Plain HTTP is for this machine only. Repeating is safe: an object is written under a name that says what is in it.
"""

import ipaddress
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from io import BytesIO
from urllib.parse import urlsplit

import urllib3
from minio import Minio
from minio.error import MinioException, S3Error

from schemas.errors import NotSetUp, Stops, Unreachable

REGION = "us-east-1"
PLACEHOLDER = "_keep"
CONNECT_SECONDS = 5
READ_SECONDS = 30
REPEATS = 4
_PASSING = frozenset({500, 502, 503, 504})
_REFUSED = frozenset({"AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch"})


class Missing(Stops):
    """No such object: the table's log names a file that is not there, or the path is wrong."""


@dataclass(frozen=True)
class Store:
    """One bucket; `endpoint` is `https://host[:port]`, or `http://` on this machine's own address."""

    endpoint: str
    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    bucket: str

    def __post_init__(self) -> None:
        parts = urlsplit(self.endpoint)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/"):
            raise NotSetUp(f"{self.endpoint!r} is no endpoint of an object store; give https://host:port")
        if parts.scheme == "http" and not _is_here(parts.hostname):
            raise NotSetUp(f"{self.endpoint} would carry the tables in clear over a network; give an https:// endpoint")

    @property
    def secure(self) -> bool:
        """Whether the way to the store is encrypted."""
        return self.endpoint.startswith("https://")

    @property
    def netloc(self) -> str:
        """`host[:port]`."""
        return urlsplit(self.endpoint).netloc

    @cached_property
    def client(self) -> Minio:
        """The client: bounded waits, and a few repeats of what may be repeated (all that is done here)."""
        repeats = urllib3.Retry(total=REPEATS, backoff_factor=0.2, status_forcelist=_PASSING, raise_on_status=False)
        wait = urllib3.Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS)
        pool = urllib3.PoolManager(timeout=wait, retries=repeats, maxsize=4)
        return Minio(self.netloc, self.access_key, self.secret_key, secure=self.secure, region=REGION, http_client=pool)

    def put(self, path: str, data: bytes | memoryview) -> None:
        """Write one object, whole or not at all; an object of that name is replaced."""
        view = memoryview(data)
        with self._asking(f"write {path}"):
            self.client.put_object(self.bucket, path, BytesIO(view), view.nbytes)

    def get(self, path: str) -> bytes:
        """Return one object; Missing if there is none."""
        with self._asking(f"read {path}"):
            answer = self.client.get_object(self.bucket, path)
            try:
                return bytes(answer.data)
            finally:
                answer.close()
                answer.release_conn()

    def list(self, prefix: str) -> list[str]:
        """Return the paths of all objects under `prefix`, sorted."""
        with self._asking(f"list {prefix}"):
            found = self.client.list_objects(self.bucket, prefix, recursive=True)
            return sorted(str(one.object_name) for one in found if not one.is_dir)

    def remove(self, path: str) -> None:
        """Remove one object; no error if it is gone already."""
        with self._asking(f"remove {path}"):
            self.client.remove_object(self.bucket, path)

    def keep(self, prefix: str) -> None:
        """Put a placeholder under `prefix`: a store that removes empty folders could race with a first write."""
        self.put(f"{prefix}/{PLACEHOLDER}", b"")

    def uri(self, path: str) -> str:
        """Return the path as Delta's readers and writers want it."""
        return f"s3://{self.bucket}/{path}"

    def delta_options(self) -> dict[str, str]:
        """Return the storage options for deltalake and Polars: conditional PUT by etag, bounded waits, one idle connection.

        By its default each table keeps every connection that it ever had at once: a sink with all tables held over 1,000.
        """
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ALLOW_HTTP": str(not self.secure).lower(),
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_REGION": REGION,
            "aws_conditional_put": "etag",
            "connect_timeout": f"{CONNECT_SECONDS} seconds",
            "timeout": f"{READ_SECONDS} seconds",
            "retry_timeout": f"{2 * READ_SECONDS} seconds",
            "pool_max_idle_per_host": "1",
        }

    @contextmanager
    def _asking(self, what: str) -> Iterator[None]:
        try:
            yield
        except S3Error as error:
            raise self._refusal(error, what) from error
        except (MinioException, urllib3.exceptions.HTTPError, OSError) as error:
            raise self._silence(what) from error

    def _refusal(self, error: S3Error, what: str) -> Exception:
        if error.code == "NoSuchKey":
            return Missing(f"cannot {what}: there is no such object in {self.bucket}; run `tocsin status`")
        if error.code == "NoSuchBucket":
            return NotSetUp(f"{self.endpoint} has no bucket {self.bucket!r}; create it, or run `tocsin up`")
        if error.code in _REFUSED:
            return NotSetUp(f"{self.endpoint} refused the access key ({error.code}); check the store's key and secret")
        if error.code == "RequestTimeTooSkewed":
            return Unreachable(
                f"cannot {what}: the clocks of this machine and of the object store at {self.endpoint} differ too much; "
                "set the clock that is wrong, then start this again"
            )
        return Unreachable(f"cannot {what}: the object store at {self.endpoint} answered {error.code}; try again")

    def _silence(self, what: str) -> Exception:
        return Unreachable(
            f"cannot {what}: the object store at {self.endpoint} does not answer; "
            "run `tocsin status`, then start this again"
        )


def _is_here(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
