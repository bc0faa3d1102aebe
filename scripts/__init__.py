"""What developers and CI run; each is also a make target."""
