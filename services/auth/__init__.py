"""Auth: who people are, which marketplace they belong to, and what they may do."""
