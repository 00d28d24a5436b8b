"""What chapters show in words and tables."""
