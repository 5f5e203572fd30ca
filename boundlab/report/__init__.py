"""One self-contained HTML page; one function per figure."""
