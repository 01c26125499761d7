"""Write `kafka.lock.toml` anew for another version of Kafka: `python -m infra.relock 4.3.1`.

Every jar is resolved from Kafka's own POM, checked against the repository's SHA-1, and written down with its sha256.
"""

import hashlib
import sys
import tempfile
from pathlib import Path
from typing import Any

from infra.files import write
from infra.jars import LOCK

GROUP, ARTIFACT = "org.apache.kafka", "kafka_2.13"
# Kafka's POM leaves out what carries its log to log4j, as its own distribution has it.
LOG_GROUP, LOG_CORE, LOG_BRIDGE = "org.apache.logging.log4j", "log4j-core", "log4j-slf4j-impl"


def resolve(version: str, repository: Path) -> list[dict[str, str]]:
    """Return group, artifact, version and sha256 of every jar that a broker needs at run time, in order of their names."""
    from jgo.maven import Dependency, MavenContext, PythonResolver

    context: Any = MavenContext(resolver=PythonResolver(), repo_cache=repository, local_repos=[])
    root = context.project(GROUP, ARTIFACT).at_version(version).artifact()
    _, nodes = context.resolver.get_dependency_list([Dependency(root)])
    found = [node.dep.artifact for node in nodes if node.dep.scope != "test"]
    logger = next(one.version for one in found if one.artifactId == LOG_CORE)
    bridge = context.project(LOG_GROUP, LOG_BRIDGE).at_version(logger).artifact()
    locked = [
        {
            "group": one.groupId,
            "artifact": one.artifactId,
            "version": one.version,
            "sha256": hashlib.sha256(Path(one.resolve()).read_bytes()).hexdigest(),
        }
        for one in (root, bridge, *found)
    ]
    return sorted(locked, key=lambda jar: (jar["group"], jar["artifact"]))


def text(version: str, jars: list[dict[str, str]]) -> str:
    """Return the lock file."""
    head = f"# The jars of Apache Kafka {version} ({ARTIFACT}) for one embedded broker; each is checked against its sha256.\n"
    tables = ["\n[[jar]]\n" + "".join(f'{name} = "{value}"\n' for name, value in jar.items()) for jar in jars]
    return f'{head}kafka = "{version}"\n' + "".join(tables)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        write(LOCK, text(sys.argv[1], resolve(sys.argv[1], Path(folder))), mode=0o644)
