"""The books in SQLite: one writer with group commit, readers beside it, SQL in plain sight."""
