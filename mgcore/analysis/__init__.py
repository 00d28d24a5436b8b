"""Loss surfaces, and how much of an image survives in a feature map."""
