"""One case goes to another node: an offer and its answer enter, the case leaves its owner and is recorded by the one that took it."""
