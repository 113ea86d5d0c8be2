"""What several statements have in common: columns as they are answered, and the alerts.

Alerts are edges, so a change is judged by what was before it and what is after it. A statement
names both in a common table expression

    changed (workspace_id, id, user_id, name, unit, category, sku, version,
             previous_quantity, previous_threshold, quantity, min_threshold)

and writes the outbox rows by `alerts()`, or by `alerts_after(subject)` where the change is an event
of its own.

A new item counts as one that had the same stock and no threshold before: it can fall low by being
made, but neither run out nor recover.
"""

# In the order of `Item`'s fields, as ROW is in that of `Movement`'s: made by place, an answer costs
# a tenth of what it does by name.
ITEM = """
    id, workspace_id, user_id, name,
    trim_scale(quantity) AS quantity, trim_scale(min_threshold) AS min_threshold,
    unit, category, sku, barcode, low_quantity IS NOT NULL AS is_low_stock,
    CASE
        WHEN quantity = 0 THEN 'out'
        WHEN low_quantity IS NOT NULL THEN 'low'
        ELSE 'ok'
    END AS status,
    version, created_at, updated_at
"""

# An item as the ledger keeps it for the repetition of a request: the wire's names and forms.
KEPT_ITEM = """
    jsonb_build_object(
        'id', id, 'workspaceId', workspace_id, 'userId', user_id, 'name', name,
        'quantity', trim_scale(quantity), 'minThreshold', trim_scale(min_threshold),
        'unit', unit, 'category', category, 'sku', sku, 'barcode', barcode,
        'isLowStock', low_quantity IS NOT NULL,
        'status', CASE
            WHEN quantity = 0 THEN 'out'
            WHEN low_quantity IS NOT NULL THEN 'low'
            ELSE 'ok'
        END,
        'version', version, 'createdAt', created_at, 'updatedAt', updated_at)
"""

ROW = """
    id, item_id, user_id,
    trim_scale(previous_quantity) AS previous_quantity,
    trim_scale(new_quantity) AS new_quantity,
    trim_scale(delta) AS delta,
    reason, note, ref, seq, occurred_at, created_at
"""

# Whether a key is free of the answers that the edge keeps beside the ledger. From here to the end
# of the transaction nobody else uses the key (see tables.sql).
UNKEPT = "({key} IS NULL OR hold_key({workspace_id}, {user_id}, {key}))"

_EVENTS = """
    INSERT INTO outbox (subject, workspace_id, data, traceparent)
    SELECT
        event.subject,
        c.workspace_id,
        jsonb_build_object(
            'itemId', c.id,
            'workspaceId', c.workspace_id,
            'userId', c.user_id,
            'name', c.name,
            'unit', c.unit,
            'quantity', trim_scale(c.quantity),
            'minThreshold', trim_scale(c.min_threshold),
            'seq', c.version
        ) || event.more,
        {traceparent}
    FROM changed c
    CROSS JOIN LATERAL (
        SELECT
            coalesce(c.previous_quantity <= c.previous_threshold, false) AS was_low,
            coalesce(c.quantity <= c.min_threshold, false) AS is_low,
            c.previous_quantity <= coalesce(c.previous_threshold, 0) AS was_short,
            c.quantity <= coalesce(c.min_threshold, 0) AS is_short
    ) edge
    CROSS JOIN LATERAL (VALUES
        {own}
        (1, 'inventory.item.fell_low', edge.is_low AND NOT edge.was_low, '{}'::jsonb),
        (2, 'inventory.item.ran_out', c.quantity = 0 AND c.previous_quantity > 0, '{}'),
        (3, 'inventory.item.recovered', edge.was_short AND NOT edge.is_short, '{}')
    ) event (nth, subject, happened, more)
    WHERE event.happened
    ORDER BY c.version, event.nth
    RETURNING id
"""

_OWN = "(0, '{subject}', true, jsonb_build_object('category', c.category, 'sku', c.sku)),"


def compose(statement: str, **parts: str) -> str:
    """The statement with each `{name}` replaced by that part: constants of ours, never values."""
    for name, part in parts.items():
        statement = statement.replace("{" + name + "}", part)
    return statement


def alerts(*, traceparent: str = "$1") -> str:
    """What falls low, runs out or recovers by a change; `traceparent` is what says by whose."""
    return compose(_EVENTS, own="", traceparent=traceparent)


def alerts_after(subject: str) -> str:
    """`alerts` after an event of the change's own, which carries category and sku too."""
    return compose(_EVENTS, own=compose(_OWN, subject=subject), traceparent="$1")
