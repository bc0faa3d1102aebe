"""What every service stands on; no business noun may appear here."""
