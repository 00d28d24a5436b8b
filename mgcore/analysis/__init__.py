"""Loss surfaces, and the correlation of feature maps with the image, of any network."""
