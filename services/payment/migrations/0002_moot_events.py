"""Creates the rule that tells which of the provider's events say nothing new: asked when one comes,
and once more when it has waited."""

from alembic import op

IS_MOOT = """
    CREATE FUNCTION is_moot(p payments, p_type text, p_intent_id text) RETURNS boolean LANGUAGE sql STABLE AS $$
        SELECT p.status = 'SUCCEEDED' AND p.fee_minor IS NOT NULL AND p.provider_intent_id = p_intent_id
            AND p_type LIKE 'payment_intent.%'
    $$
"""


def upgrade() -> None:
    """Create it."""
    op.execute(IS_MOOT)
