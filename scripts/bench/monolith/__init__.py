"""Owns the yardstick: a monolith that makes the same promises as the mesh, as a competent team would write it.

FastAPI and SQLAlchemy in one application over one database. Rules, holds and provider calls are the services' own code;
what differs is the shape: no calls between processes, and two transactions where the mesh has one a step.
"""
