"""What payment does, one function a verb."""
