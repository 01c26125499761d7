"""A regional hub: committed tables and ledgers enter, figures that identify nobody leave."""
