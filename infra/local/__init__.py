"""The one-command stack: every part of the mesh on this machine, without Docker, root or an account anywhere."""
