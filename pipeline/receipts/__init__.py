"""Receipts: what the ledgers, quarantine and the tables say enters; `receipts.<node>` leaves, and is read back."""
