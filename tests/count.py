"""A count made straight from the two files, with nothing of tocsin: what the tables must hold after `make demo`.

`python -m tests.count SVAC.csv INCIDENTS.json` prints one line of JSON: rows, accepted, and by region the incidents and
patterns. Its rules are written again here on purpose, in the words of the files.
"""

import csv
import json
import sys
from collections import Counter
from pathlib import Path

WHOLE = {
    "sahel": {"MLI", "BFA", "NER", "MRT", "TCD"},
    "horn-of-africa": {"SOM", "ETH", "KEN", "SSD", "SDN", "DJI", "ERI", "UGA"},
    "great-lakes": {"COD", "CAF", "UGA", "RWA", "BDI", "SSD"},
    "libya-neighbours": {"LBY", "TCD", "NER", "SDN"},
}
LAKE_COUNTRIES = {"NGA", "NER", "TCD", "CMR"}
LAKE_AREAS = {
    "borno",
    "yobe",
    "adamawa",
    "diffa",
    "lac",
    "lake",
    "hadjer-lamis",
    "far north",
    "far-north",
    "extrême-nord",
    "nord",
    "north",
}
ELSEWHERE = {"IRQ", "MMR"}
MONITORED = set().union(*WHOLE.values()) | LAKE_COUNTRIES | ELSEWHERE
# Admin 1 as the file has it, where the country has no such area; and a form outside the UN's definition.
NO_SUCH_AREA = {("SSD", "Central Darfur"), ("LBY", "As-Sabiri")}
NOT_CRSV = {"SexualHarassment"}
SVAC_PLACES = {
    "Iraq": "IRQ",
    "Sudan": "SDN",
    "Myanmar": "MMR",
    "Myanmar (Burma)": "MMR",
    "Mali": "MLI",
    "Ethiopia": "ETH",
    "Uganda": "UGA",
    "Democratic Republic of Congo (Zaire)": "COD",
    "DR Congo (Zaire)": "COD",
    "Chad": "TCD",
    "Somalia": "SOM",
    "Central African Republic": "CAF",
    "Niger": "NER",
    "Nigeria": "NGA",
    "Eritrea": "ERI",
    "South Sudan": "SSD",
    "Libya": "LBY",
    "Cameroon": "CMR",
    "Kenya": "KEN",
}


def incidents(path: Path) -> tuple[int, list[tuple[str, str]]]:
    """Return the number of rows, and country and admin 1 of each incident that must be accepted."""
    rows = json.loads(path.read_text(encoding="utf-8"))
    kept = [
        (row["Country ISO"], row["Admin 1"].strip())
        for row in rows
        if row["SV Context"] == "CRSV" and row["Country ISO"] in MONITORED and row["Type of SV"] not in NOT_CRSV
    ]
    return len(rows), [each for each in kept if each not in NO_SUCH_AREA]


def patterns(path: Path) -> tuple[int, list[set[str]]]:
    """Return the number of rows, and the monitored countries of each pattern that must be accepted."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    found = []
    for row in rows:
        reported = [int(row[name]) for name in ("state_prev", "ai_prev", "hrw_prev") if row[name].isdigit()]
        countries = {SVAC_PLACES.get(place.strip(), "") for place in row["location"].split(",")} & MONITORED
        if max(reported, default=0) > 0 and countries:
            found.append(countries)
    return len(rows), found


def regions_of_incident(country: str, admin1: str) -> set[str]:
    """Return the hubs that an incident belongs to."""
    found = {region for region, countries in WHOLE.items() if country in countries}
    if country in LAKE_COUNTRIES and admin1.casefold().removesuffix(" state").removesuffix(" region") in LAKE_AREAS:
        found.add("lake-chad")
    return found or {"other-situations"}


def regions_of_pattern(countries: set[str]) -> set[str]:
    """Return the hubs that a pattern over whole countries touches."""
    found = {region for region, members in WHOLE.items() if countries & members}
    if countries & LAKE_COUNTRIES:
        found.add("lake-chad")
    if countries & (ELSEWHERE | {"NGA", "CMR"}):  # their areas outside the basin
        found.add("other-situations")
    return found


def count(svac: Path, incident_file: Path) -> dict[str, object]:
    """Return the figures."""
    incident_rows, kept = incidents(incident_file)
    pattern_rows, observed = patterns(svac)
    return {
        "incident_rows": incident_rows,
        "incidents": len(kept),
        "pattern_rows": pattern_rows,
        "patterns": len(observed),
        "incidents_by_region": dict(Counter(r for each in kept for r in regions_of_incident(*each))),
        "patterns_by_region": dict(Counter(r for each in observed for r in regions_of_pattern(each))),
    }


if __name__ == "__main__":
    print(json.dumps(count(Path(sys.argv[1]), Path(sys.argv[2]))))
