"""Rules stated once and rendered four ways, audits and disclosure control; columns enter, verdicts leave."""
