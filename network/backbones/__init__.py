"""Backbones: images in, feature maps out, fine to coarse."""
