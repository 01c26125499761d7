"""What a hub knows, on one page: is it complete, what became of the records, what the tables hold.

No number of incidents, assessed ones too, or referrals below the threshold is in it: the table of counts is rolled up until it is safe, and a total
below the threshold is given as None, to be shown as "fewer than 5". Verified and unverified stand apart.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from datetime import date
from typing import Any

import polars as pl

from pipeline.hub.asof import counts
from pipeline.hub.assessed import assessed
from pipeline.hub.completeness import NodeCompleteness, fold
from pipeline.hub.crossing import crossings
from pipeline.hub.reading import table
from pipeline.log import read
from pipeline.receipts.given import receipted
from quality.confidence import with_confidence
from quality.disclosure import safe_count
from schemas.confidence import Scale
from schemas.rows import read as read_row
from schemas.wire import unframe
from sinks.store import Store
from sinks.tables import READING


def summary(kafka: str, store: Store, key: bytes, regions: Iterable[str], scale: Scale, day: date) -> dict[str, Any]:
    """Return the page as plain values; see `tocsin hub summary --json`. `key` opens the ledger's deltas.

    `scale` says how confidence fades, `day` to which day.
    """
    nodes = fold(read(kafka, "ledger.refine"), key)
    through = receipted(kafka, [node.node for node in nodes])
    return {
        "complete": all(node.complete for node in nodes),
        "nodes": [
            asdict(node)
            | {"complete": node.complete, "counts": dict(node.counts), "receipted_through": through[node.node]}
            for node in nodes
        ],
        "records": dict(_totals(nodes)),
        "quarantined": quarantined(kafka),
        "regions": [region_page(store, region, scale, day) for region in regions],
    }


def _totals(nodes: Iterable[NodeCompleteness]) -> Counter[str]:
    totals: Counter[str] = Counter()
    for node in nodes:
        totals.update(node.counts)
    return totals


def quarantined(kafka: str) -> dict[str, int]:
    """Return the number of refused records by reason; a record with two reasons counts for both."""
    reasons: Counter[str] = Counter()
    for entry in read(kafka, "quarantine"):
        release, body = unframe(entry.value or b"")
        reasons.update(read_row(release, body)["reasons"])
    return dict(reasons.most_common())


def region_page(store: Store, region: str, scale: Scale, day: date) -> dict[str, Any]:
    """Return what the tables of one region hold."""
    frames = {name: table(store, f"hub/{region}/{name}") for name in READING}
    incidents, versions = frames["incidents"], frames["versions"]
    return {
        "region": region,
        "incidents": {
            state: safe_count(n) for state, n in incidents.group_by("verification").len().sort("verification").rows()
        },
        "revised": safe_count(incidents["version_id"].count()),
        "in_conflict": safe_count(versions.filter("conflict", pl.col("ended_on").is_null())["incident_id"].n_unique()),
        "referrals": {
            service: safe_count(n)
            for service, n in frames["referrals"].filter("consented").group_by("service").len().sort("service").rows()
        },
        "assessed": assessed(incidents, frames["assessments"]),
        "patterns": len(frames["patterns"]),
        "links": safe_count(len(frames["links"])),
        "linked_incidents": safe_count(frames["links"]["incident_id"].n_unique()),
        "probable_duplicates": safe_count(len(frames["duplicates"])),
        "cross_border": [
            {"party": party, "form": form, "countries": list(countries)}
            for party, form, countries in crossings(incidents, frames["patterns"])
        ],
        "counts": counts(with_confidence(incidents, scale, day), region),
    }
