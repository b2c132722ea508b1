"""Everything between a request and its events: open, decide, decode, record, store, read again."""
