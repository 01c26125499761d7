"""The command line: arguments enter, tables, JSON and exit codes leave; groups load lazily."""
