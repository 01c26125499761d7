"""The applications: command line, node, hub; the one folder that wires all others."""
