"""What a run leaves behind: event files for TensorBoard, tags, layouts, run folders, loggers and diagnosis."""
