"""What the contracts promise each other and their readers."""
