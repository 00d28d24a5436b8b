"""What chapters show in pictures."""
