"""Payment: intents, captures and refunds at the provider, its events, and the money ledger."""
