"""Authorization: a strict reader of rules, Casbin as the authority on their meaning, a compiled snapshot for speed."""
