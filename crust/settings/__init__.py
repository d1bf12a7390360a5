"""What a `Config` is made of: what values are allowed, where files are looked for, and what is in them."""
