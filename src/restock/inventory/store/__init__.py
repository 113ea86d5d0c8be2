"""Every SQL statement of inventory, by noun: `items`, `ledger`, `batches`; `parts` is what they
share. Each function acts inside one workspace.
"""
