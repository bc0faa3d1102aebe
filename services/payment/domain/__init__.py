"""What payments, refunds and the ledger are, and the rules they keep; pure Python."""
