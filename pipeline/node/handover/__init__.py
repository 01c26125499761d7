"""A node changes hands: the node of a team that leaves enters; the same node, its successor's and nobody else's, leaves."""
