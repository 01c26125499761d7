"""What the log may hold: Avro contracts, their framing, codec, sealing, code lists, places and errors; nothing of ours enters, every other folder reads it."""
