"""What inventory does: one function a verb, one unit of work each."""
