"""Erasing for good: what the nodes' withdrawals name enters; bytes that are gone, and signed receipts of it, leave."""
