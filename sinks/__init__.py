"""Committed hub events enter; Parquet files in Delta tables on object storage leave."""
