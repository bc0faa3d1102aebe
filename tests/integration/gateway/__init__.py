"""The gateway as callers meet it: a real Envoy before services that answer by script."""
