"""Protobuf from and to inventory's domain; nothing else knows both."""
