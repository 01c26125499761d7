"""A node changes hands. In: the node of a team that leaves; out: the same node, gone on with by its successor, and nobody else."""
