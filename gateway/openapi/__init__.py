"""The OpenAPI document, made from the descriptor set: constraints, errors, security and examples included."""
