"""Service registries: one file each, one small protocol (``registry``) for all of them."""
