"""One machine or a cluster: the table of topics enters; a real Kafka, a real S3 and everything rendered from the table leave."""
