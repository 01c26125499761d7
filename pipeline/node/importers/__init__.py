"""One importer a format: a file enters, rows and rejects leave."""
