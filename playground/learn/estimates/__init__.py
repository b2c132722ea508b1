"""Judge a version before it serves: the promotion rule, and its value estimated from what other versions served."""
