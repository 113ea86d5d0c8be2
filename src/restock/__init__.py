"""Restock: stock that stays true, and vendors who hear of it at once."""
