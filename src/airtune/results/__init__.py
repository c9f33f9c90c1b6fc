"""What a run leaves behind: its events, the summary of them, and the report."""
