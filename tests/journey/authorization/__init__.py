"""Who may do what: every method, by everybody, with everything; generated from the contracts."""
