"""A node under attack, in processes of their own: see docs/security.md, "Under attack"."""
