"""A mission node: a person's file enters, sealed events leave for the hub."""
