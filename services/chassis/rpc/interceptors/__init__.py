"""What each call passes through before and after its handler; chain.py says in which order, and why."""
