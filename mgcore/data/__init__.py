"""Labelled images: published data sets, and stroke digits that exist on any grid."""
