"""What the authors of notebooks need."""
