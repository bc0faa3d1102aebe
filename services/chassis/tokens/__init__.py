"""Access tokens: whom they name, and whether to believe them."""
