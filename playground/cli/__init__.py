"""The command line: one thin command per file, over the same runtime the page uses."""
