"""Output: documents, tables and lines on stdout (`output`), progress on stderr (`progress`, `bars`)."""
