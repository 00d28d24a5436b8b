"""Images of digits: MNIST, and digits that are drawn on any grid."""
