"""The tables of docs/performance.md from the lines of JSON; what is between two markers there is written anew."""

import json
from collections.abc import Callable
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parents[2]
RESULTS = Path(__file__).with_name("results.jsonl")
PAGE = ROOT / "docs" / "performance.md"
JVM = {1: "refine", 2: "merge", 3: "table"}
NAMES = {
    "ks": "Kafka Streams (exactly once v2)",
    "flink": "Flink (DataStream)",
    "rust": "Rust and rdkafka, by hand",
    "confluent": "confluent-kafka and fastavro, by hand",
    "faust": "Faust as its documentation shows",
}
KEY = ("engine", "job", "level", "form", "events", "processes")


def lines(path: Path) -> list[dict]:
    """Return the runs of a file; those of the peers' own harness get the words of ours."""
    found = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return [_ours(line) for line in found]


def _ours(line: dict) -> dict:
    if line.get("job") != "peers":
        return {"job": "own", **line}
    level = line["level"]
    named = {"level": JVM.get(level, level), "form": "plain", "processes": 1}
    if "raw" in line:
        named |= {
            "records": line["raw"],
            "cpu_s_per_m": line["cpu_steady_s_per_m"],
            "mb": line["mb_s"] * line["steady_s"],
        }
    return line | named


def grouped(found: list[dict]) -> list[dict]:
    """Return one line for each kind of run, its numbers the medians of its repeats; wrong where one was wrong."""
    groups: dict[tuple, list[dict]] = {}
    for line in found:
        groups.setdefault(tuple(line.get(name) for name in KEY), []).append(line)
    return [_middle(group) for group in groups.values()]


def _middle(group: list[dict]) -> dict:
    best = [line for line in group if line["ok"]]
    if len(best) < len(group):
        return group[-1] | {"ok": False, "runs": len(group)}
    numbers = {
        name: median(line[name] for line in group)
        for name, value in group[0].items()
        if isinstance(value, int | float) and not isinstance(value, bool) and all(name in line for line in group)
    }
    return group[0] | numbers | {"runs": len(group)}


def tables(found: list[dict]) -> str:
    """Return every table, as the page has them."""
    return "\n".join(f"{name}\n\n{made(grouped(found))}" for name, made in TABLES.items())


def write(results: Path = RESULTS, page: Path = PAGE) -> None:
    """Write the page's tables."""
    page.write_text(rendered(page.read_text(), lines(results)))


def rendered(text: str, found: list[dict]) -> str:
    for name, made in TABLES.items():
        begin, end = f"<!-- begin: {name} -->\n", f"<!-- end: {name} -->"
        head, _, rest = text.partition(begin)
        _, mark, tail = rest.partition(end)
        if not mark:
            raise SystemExit(f"docs/performance.md has no place for {name}: put {begin.strip()} and {end} there")
        text = f"{head}{begin}{made(grouped(found))}{end}{tail}"
    return text


def _table(head: str, rows: list[list[object]]) -> str:
    if not rows:
        return "No run yet: `make bench`.\n"
    columns = head.split(" | ")
    rule = "|".join("---" if k < 3 else "---:" for k in range(len(columns)))
    body = "".join("| " + " | ".join(str(cell) for cell in row) + " |\n" for row in rows)
    return f"| {head} |\n|{rule}|\n{body}"


def _thousands(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}"


def _right(line: dict) -> str:
    return "yes" if line["ok"] else "**no**"


def machine(found: list[dict]) -> str:
    facts = [line["machine"] for line in found if "machine" in line]
    if not facts:
        return "No run yet: `make bench`.\n"
    kinds = sorted({f"{each['cores']} cores, {each['memory_gib']} GiB" for each in facts})
    days = sorted({line["session"][:10] for line in found if "session" in line})
    commits = sorted({line["commit"] for line in found if line.get("commit")})
    return f"{'; '.join(kinds)}, shared with the broker and the store. Measured on {', '.join(days)}, commit {', '.join(commits)}.\n"


def speed(found: list[dict]) -> str:
    rows = [
        [
            line["level"],
            line["form"],
            line["processes"],
            _thousands(line["events"]),
            _thousands(line["rate"]),
            line["mb_s"],
            line["cpu_s_per_m"],
            line["broker_cpu_s_per_m"],
            _thousands(line["rss_mb"]),
            line["runs"],
            _right(line),
        ]
        for line in found
        if line["engine"] == "tocsin" and line["level"] != "latency"
    ]
    head = "way | bodies | processes of each stage | events | records/s | MB/s | CPU s/M | broker CPU s/M | peak MB | runs | exact"
    return _table(head, rows)


def beside(found: list[dict]) -> str:
    """Return the other engines with what tocsin makes of it: the plain run of as many events, its fastest."""
    rows = []
    for line in found:
        if line["engine"] == "tocsin":
            continue
        own = [o for o in found if o["engine"] == "tocsin" and o["level"] == line["level"] and o["ok"]]
        own = [o for o in own if o["events"] == line["events"]] or own
        fastest = {
            form: max((o for o in own if o["form"] == form), key=lambda o: o["rate"], default=None)
            for form in ("plain", "sealed")
        }
        rows.append(
            [
                NAMES.get(line["engine"], line["engine"]),
                "the peers' job" if line["job"] == "peers" else "our corpus, plain",
                line["level"],
                _thousands(line["events"]),
                _thousands(line.get("rate")),
                line.get("mb_s", "–"),
                line.get("cpu_s_per_m", "–"),
                _thousands(line.get("rss_mb")),
                *(f"{_ratio(o, line, 'rate')} · {_ratio(o, line, 'mb_s')}" for o in fastest.values()),
                _right(line),
            ]
        )
    head = "engine | job | way | events | records/s | MB/s | CPU s/M | peak MB | tocsin, plain | tocsin, sealed | exact"
    return _table(head, rows)


def _ratio(own: dict | None, other: dict, name: str) -> str:
    return f"{own[name] / other[name]:.2f}" if own and other.get(name) else "–"


def state(found: list[dict]) -> str:
    rows = []
    for line in found:
        if line["engine"] != "tocsin" or line["processes"] != 1 or "state_bytes" not in line:
            continue
        for stage, size in line["state_bytes"].items():
            again = line.get("restart", {}).get(stage, {})
            rows.append(
                [
                    line["level"],
                    line["form"],
                    stage,
                    _thousands(line["events"]),
                    line["cpu_s_per_m_by_stage"][stage],
                    size["memory"],
                    size["snapshot"],
                    size["ledger"],
                    again.get("seconds", "–"),
                    again.get("lanes_seconds", "–"),
                    again.get("tail_records", "–"),
                ]
            )
    head = "way | bodies | stage | events | CPU s/M | bytes an event in memory | in snapshots | in the ledger | restart s | of it lanes s | ledger records read"
    return _table(head, rows)


def replay(found: list[dict]) -> str:
    """Return how fast one region's tables were made again, beside the live run that made them all."""
    rows = [
        [
            line["form"],
            _thousands(line["events"]),
            _thousands(line["rate"]),
            _thousands(line["replay"]["rate"]),
            "yes" if line["replay"]["equal"] else "no",
        ]
        for line in found
        if "replay" in line
    ]
    return _table("bodies | events | live records/s | replayed records/s | tables equal", rows)


def latency(found: list[dict]) -> str:
    rows = [
        [
            line["processes"],
            line["rate"],
            _thousands(line["samples"]),
            line["p50_ms"],
            line["p95_ms"],
            line["p99_ms"],
            line["max_ms"],
            _right(line),
        ]
        for line in found
        if line["level"] == "latency"
    ]
    return _table(
        "processes of each stage | events/s | events counted | p50 ms | p95 ms | p99 ms | longest ms | all seen", rows
    )


def stages(found: list[dict]) -> str:
    """Return where the stages' seconds go: what each lane took, added up, for a million records."""
    rows = []
    for line in found:
        if line["engine"] != "tocsin" or "laps_s" not in line or line["processes"] != 1:
            continue
        for stage, laps in line["laps_s"].items():
            if stage != "refine" and line["level"] == "refine":
                continue
            millions = line["records"] / 1e6
            parts = ", ".join(f"{name} {value / millions:.2f}" for name, value in laps.items())
            rows.append([line["level"], line["form"], stage, _thousands(line["events"]), line["batches"][stage], parts])
    return _table("way | bodies | stage | events | batches | lane seconds a million records", rows)


TABLES: dict[str, Callable[[list[dict]], str]] = {
    "machine": machine,
    "speed": speed,
    "beside": beside,
    "state": state,
    "replay": replay,
    "latency": latency,
    "stages": stages,
}
