"""Tenants: marketplaces that share nothing but the platform."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Final

_SLUG: Final = re.compile(r"[a-z][a-z0-9-]{1,38}[a-z0-9]", re.ASCII)


class TenantStatus(StrEnum):
    """Whether a tenant works."""

    ACTIVE = "ACTIVE"
    SUSPENDED = "SUSPENDED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """A marketplace."""

    tenant_id: str
    slug: str
    display_name: str
    status: TenantStatus
    create_time: datetime

    def moved_to(self, status: TenantStatus) -> Tenant:
        """The tenant in another state; being there already is fine."""
        return replace(self, status=status)


def is_slug(text: str) -> bool:
    """Whether a text can be a tenant's slug at all."""
    return _SLUG.fullmatch(text) is not None
