"""Reading of labelled texts: lines, tables and folders of documents."""
