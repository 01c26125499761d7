"""A judge that shares no code with what it judges: no module of tocsin, no Avro library, no Polars.

It reads the topics at both isolation levels, the tables' logs and files, and the commands' JSON; keeps what it finds in
SQLite; and compares with the truth that the run has written down. `python -m tests.chaos.oracle DATA TRUTH --json`.
"""
