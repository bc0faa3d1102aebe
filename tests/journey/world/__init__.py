"""The people of the tests, what they own, and their lines to the mesh."""
