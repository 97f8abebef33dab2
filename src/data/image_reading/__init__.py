"""Reading of labelled images: folders and zips of pictures, IDX files and NumPy archives."""
