"""Photos, videos and cameras: reading, showing and writing them."""
