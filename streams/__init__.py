"""Faust in micro-batches: fetched batches enter, exactly-once transactions leave; refine and merge are pure stages between."""
