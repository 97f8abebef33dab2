"""The command line: one file per entry script. Heavy libraries are imported only when a command does its work."""
