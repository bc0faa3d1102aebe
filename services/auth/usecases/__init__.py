"""What auth does: one function a verb, one unit of work each (two where a password is hashed between them)."""
