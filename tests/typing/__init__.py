"""A site's own code, as its authors write it: mypy and pyright check it strictly, and nobody runs it."""
