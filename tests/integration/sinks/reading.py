"""What an analyst does with a table, in four tools and without tocsin; started as a program of its own.

Standard input: tool, uri, options, endpoint, access_key, secret_key and path as JSON. Standard output: rows as JSON.
"""

import json
import sys

OURS = {"schemas", "quality", "streams", "sinks", "infra", "pipeline", "tests"}
COLUMNS = ["incident_id", "occurred_on", "admin1", "forms", "women", "party", "un_eyewitness"]


def dataset(given):
    from deltalake import DeltaTable
    from pyarrow.fs import S3FileSystem, SubTreeFileSystem

    files = S3FileSystem(
        endpoint_override=given["endpoint"],
        scheme="http",
        access_key=given["access_key"],
        secret_key=given["secret_key"],
        region="us-east-1",
    )
    table = DeltaTable(given["uri"], storage_options=given["options"])
    return table.to_pyarrow_dataset(filesystem=SubTreeFileSystem(given["path"], files))


def duckdb(given):
    import duckdb

    connection = duckdb.connect()
    connection.register("incidents", dataset(given))
    return connection.sql(f"SELECT {', '.join(COLUMNS)} FROM incidents ORDER BY incident_id").fetchall()


def polars(given):
    import polars as pl

    frame = pl.scan_delta(given["uri"], storage_options=given["options"]).select(COLUMNS).sort("incident_id")
    return frame.collect().rows()


def pyarrow(given):
    return [tuple(row.values()) for row in dataset(given).to_table(COLUMNS).sort_by("incident_id").to_pylist()]


def pandas(given):
    import pandas as pd

    frame = dataset(given).to_table(COLUMNS).to_pandas(types_mapper=pd.ArrowDtype).sort_values("incident_id")
    return [
        tuple(None if value is pd.NA else value for value in row) for row in frame.itertuples(index=False, name=None)
    ]


def plain(value):
    if hasattr(value, "isoformat"):
        return value.isoformat()
    return [str(one) for one in value]


if __name__ == "__main__":
    request = json.load(sys.stdin)
    found = {"duckdb": duckdb, "polars": polars, "pyarrow": pyarrow, "pandas": pandas}[request["tool"]](request)
    loaded = OURS & {name.partition(".")[0] for name in sys.modules}
    assert not loaded, loaded
    print(json.dumps(found, default=plain))
