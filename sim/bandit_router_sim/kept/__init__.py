"""Results of finished runs on disk, under keys that name everything that can change them."""
