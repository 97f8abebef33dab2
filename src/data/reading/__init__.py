"""From what the user names to clean series: sources, cells, dates, numbers, layouts, repairs."""
