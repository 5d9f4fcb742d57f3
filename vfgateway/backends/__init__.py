"""One module or folder per storage system."""
