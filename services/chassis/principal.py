"""Who is calling, as use cases see it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from services.chassis.errors import PermissionDenied


@dataclass(frozen=True, slots=True)
class Principal:
    """A person, a service, or nobody in particular, inside one tenant."""

    kind: Literal["anonymous", "user", "service"]
    tenant_id: str
    subject: str  # a user's id, a service's name, or empty
    permissions: frozenset[str] = frozenset()
    vendor_ids: frozenset[str] = frozenset()
    session_id: str = ""
    on_behalf_of: str = ""  # the user that a service works for

    def may(self, permission: str) -> bool:
        """Whether the caller has the permission."""
        return permission in self.permissions

    def require(self, permission: str) -> None:
        """Refuse the call of a caller without the permission."""
        if permission not in self.permissions:
            raise PermissionDenied(permission=permission)

    def works_for(self, vendor_id: str) -> bool:
        """Whether the caller is one of the vendor's people."""
        return vendor_id in self.vendor_ids

    def is_user(self, user_id: str) -> bool:
        """Whether the caller is this person."""
        return self.kind == "user" and self.subject == user_id
